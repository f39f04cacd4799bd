"""Filters as SQL, and counts by the values of a field."""
