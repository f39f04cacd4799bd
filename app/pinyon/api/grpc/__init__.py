"""The gRPC protocol: Pinecone's VectorService over ASGI."""
