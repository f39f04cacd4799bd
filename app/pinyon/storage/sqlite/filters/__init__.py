"""Which rows a filter keeps."""
