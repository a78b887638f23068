"""Models for Triton Inference Server: their repository, and switching them in a running server."""
