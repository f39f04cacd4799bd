"""Searches by words and by terms with weights."""
