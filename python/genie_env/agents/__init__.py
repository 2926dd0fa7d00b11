"""Agents: controllers, and how they are trained in dreams or in the real game."""
