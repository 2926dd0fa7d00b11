"""Recordings: how games are played and recorded, and what training reads of them."""
