"""Real games behind one seam, and the blind policies that play them. Importing costs no torch."""
