"""What the search page computes: the search in its address, its columns, and how hits are shown."""
