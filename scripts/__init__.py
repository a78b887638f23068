"""Tools for those who work on Lookalike; not installed with it."""
