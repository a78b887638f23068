"""The embedder: turns photos into unit vectors and category probabilities."""
