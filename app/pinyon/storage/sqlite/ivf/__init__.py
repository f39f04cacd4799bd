"""Inverted files: approximate nearest neighbours. Knows no SQL."""
