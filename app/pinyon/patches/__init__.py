"""Every change to somebody else's code; README.md says what, why and until when."""
