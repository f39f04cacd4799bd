"""`pinyon import`."""
