"""Models that turn a text into one dense vector."""
