"""Weights in 4-bit blocks: their file, their tokenizer, and the encoder that computes them."""
