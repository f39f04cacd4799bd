"""Backups of a data folder, and of single indexes. Both copy an index with the same code."""
