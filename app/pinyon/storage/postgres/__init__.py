"""The storage engine on PostgreSQL with pgvector."""
