"""Environments of frozen worlds, their options and adapters, and the installed worlds."""
