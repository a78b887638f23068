"""``python -m lookalike.cli``: the same as the ``lookalike`` command."""

from lookalike.cli.app import main

if __name__ == "__main__":
    main()
