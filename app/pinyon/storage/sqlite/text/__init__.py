"""Words: full-text search and sparse vectors."""
