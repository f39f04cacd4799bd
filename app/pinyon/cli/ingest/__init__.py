"""`pinyon ingest`: keeps an index in step with a folder of documents."""
