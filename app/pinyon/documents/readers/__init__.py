"""One reader for each kind of file. Each makes a Document from the file's bytes or path."""
