"""Dense vectors: stored, cached and compared."""
