"""The `pinyon` command."""
