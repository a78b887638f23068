"""The engine benchmark: Lookalike's hash index and other libraries, side by side on one machine."""
