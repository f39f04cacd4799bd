"""Connections to one SQLite file: one that writes and several that read."""
