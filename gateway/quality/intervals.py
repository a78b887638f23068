"""How sure a measured share is."""

from __future__ import annotations

import math

_Z = 1.96


def wilson(share: float, count: int) -> tuple[float, float]:
    """Returns the 95 % interval of a share by Wilson's score, which holds for few trials and shares near 1.

    Args:
        share: Of ``count`` trials, 0..1. A mean of values between 0 and 1 varies less than a share of trials
            with the same mean, so that its interval is at most so wide.
        count: 1 or more.
    """
    z2 = _Z * _Z / count
    middle = (share + z2 / 2) / (1 + z2)
    half = _Z * math.sqrt(share * (1 - share) / count + z2 / (4 * count)) / (1 + z2)
    return max(middle - half, 0.0), min(middle + half, 1.0)
