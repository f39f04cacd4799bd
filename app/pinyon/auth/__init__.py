"""API keys, what they allow, and an engine that checks this."""
