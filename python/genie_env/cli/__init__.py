"""The `genie-env` command."""
