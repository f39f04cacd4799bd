"""The files of the data folder."""
