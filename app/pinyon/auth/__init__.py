"""API keys, what they allow, and the engine that asks them."""
