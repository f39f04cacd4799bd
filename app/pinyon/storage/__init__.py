"""Where records live: one SQLite file per index, behind the Engine protocol."""
