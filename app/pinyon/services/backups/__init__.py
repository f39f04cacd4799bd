"""Backups of indexes: taken, restored, and taken again on a schedule."""
