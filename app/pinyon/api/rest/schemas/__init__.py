"""The Structs of requests and responses."""
