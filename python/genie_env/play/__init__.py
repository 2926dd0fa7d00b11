"""A page on which people play a dream: `genie-env play`."""
