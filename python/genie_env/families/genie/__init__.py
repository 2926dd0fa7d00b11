"""The genie family (Bruce et al. 2024)."""
