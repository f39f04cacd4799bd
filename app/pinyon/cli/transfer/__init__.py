"""Commands that move records between files and indexes: import, export, copy."""
