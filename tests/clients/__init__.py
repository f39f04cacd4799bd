"""Clients as their users install them, each in an environment of its own, against one server."""
