"""World families, a folder each: what the package knows of a family beside its C++ runtime."""
