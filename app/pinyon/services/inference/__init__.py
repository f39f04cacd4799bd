"""Services that embed text."""
