"""Measurements: agents in the real game, worlds beside recordings."""
