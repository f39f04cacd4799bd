"""The commands as clients of a server: the one at a URL, or the one that has the data folder."""
