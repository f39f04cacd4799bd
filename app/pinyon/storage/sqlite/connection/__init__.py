"""Connections to a file: one that writes, several that read."""
