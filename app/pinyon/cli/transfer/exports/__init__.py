"""`pinyon export`."""
