"""The gateway: the public gRPC API; fans queries out to embedder and hashers."""
