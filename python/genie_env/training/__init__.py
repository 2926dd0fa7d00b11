"""Learning the networks of a world from recorded episodes."""
