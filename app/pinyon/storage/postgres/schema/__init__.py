"""The tables: those of the catalogue, and those of each index."""
