"""What storage engines have in common: values as they are stored, sets of rows, and scores. It reads no data."""
