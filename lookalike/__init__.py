"""Lookalike: visual product search. What the three services share."""

__version__ = "0.1.0"
