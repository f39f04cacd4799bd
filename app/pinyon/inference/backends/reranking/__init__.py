"""Models that score documents against a query."""
