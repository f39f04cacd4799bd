"""The web console at /console: pages rendered on the server, which call the same services as the API."""
