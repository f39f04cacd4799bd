"""Records whose texts are embedded: upserts, searches and reranking."""
