"""Every change to other people's code. README.md says what changes, why, for which versions and until when."""
