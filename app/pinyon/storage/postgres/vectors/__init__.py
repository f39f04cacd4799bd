"""Searches by vectors."""
