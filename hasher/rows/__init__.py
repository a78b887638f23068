"""The rows of a generation: the truth, in SQLite."""
