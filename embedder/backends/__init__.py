"""Encoders: what turns prepared pictures into embeddings and category probabilities."""
