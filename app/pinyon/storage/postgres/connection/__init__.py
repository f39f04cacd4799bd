"""Connections, transactions, and what their errors mean."""
