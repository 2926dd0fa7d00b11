"""Real games and the policies that play them blind. Importing this costs no torch."""
