"""Models that embed and rerank, each behind the seam of backend.py."""
