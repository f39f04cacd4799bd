"""Handlers: decode, call a service, encode."""
