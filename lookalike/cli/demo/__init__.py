"""``lookalike demo``: the whole thing, end to end, on one machine."""
