"""Pinyon: a self-hosted search service that speaks Pinecone's API."""
