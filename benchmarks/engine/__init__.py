"""The engine benchmark: Lookalike's hash index beside other libraries, side by side on one machine."""
