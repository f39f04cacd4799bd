"""Whether files are as they were written: checksums, the number of the last write, checking and rebuilding."""
