"""Tools for agents, driven by the official SDK's client."""
