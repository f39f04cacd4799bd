"""The protocols Pinyon speaks; each decodes a request, calls a service, encodes the answer."""
