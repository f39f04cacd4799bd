"""What `pinyon copy` does with data folders and databases: copies whole indexes through the storage engines."""
