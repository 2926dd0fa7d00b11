"""The vision-memory family (Ha & Schmidhuber 2018)."""
