"""Which rows match a filter."""
