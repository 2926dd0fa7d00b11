"""Brings V and M that others trained and published into a world directory, as they are."""
