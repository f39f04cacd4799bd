"""Models that turn a text into a sparse vector: weights of words."""
