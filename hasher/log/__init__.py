"""The log of changes: where it gives positions, and how the rows follow it."""
