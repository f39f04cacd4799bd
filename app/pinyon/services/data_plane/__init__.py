"""Services about records, vectors and namespaces."""
