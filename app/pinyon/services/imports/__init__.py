"""Imports of files into an index, in the background."""
