"""What `pinyon copy` does: reads one index and writes another, and compares the two."""
