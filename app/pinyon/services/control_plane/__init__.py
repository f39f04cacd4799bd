"""Services about indexes."""
