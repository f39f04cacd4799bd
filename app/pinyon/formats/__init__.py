"""Rows in files: JSON lines, CSV, TSV and Parquet. Pure: no settings, no storage, no network."""
