"""The REST protocol: routes, wire shapes, error bodies."""
