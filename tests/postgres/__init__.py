"""A real PostgreSQL server for tests, and help with it."""
