"""Environments: the vector environment, the single one, adapters, and the worlds that are installed."""
