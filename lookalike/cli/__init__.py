"""The ``lookalike`` command."""

from lookalike.cli.app import main

__all__ = ["main"]
