"""Documents: files read as blocks of text, and blocks split into chunks that a model reads whole. Pure."""
