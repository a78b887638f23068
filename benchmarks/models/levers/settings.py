"""Levers by name: settings of `lookalike train` that are compared alone and together."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["BASELINE", "LEVERS", "settings_of"]

Settings = dict[str, Any]

BASELINE = "backbone"

LEVERS: dict[str, Settings] = {
    BASELINE: {"head": "none"},
    "default": {},
    "whitened": {"head": "none", "whitening": True},
    **{f"{copies} copies": {"augmented_copies": copies} for copies in (0, 1, 2, 4, 8, 16)},
    "strong": {"augmentation": "strong"},
    **{f"{width} wide": {"embedding_dim": width} for width in (128, 256, 384, 512)},
    **{f"shrinkage {value:g}": {"whitening_shrinkage": value} for value in (0.05, 0.2, 0.5, 1, 2, 5)},
    "SupCon": {"metric_loss": "supcon", "sampler": "product"},
    "free projection": {"projection_share": 1.0},
    "no guard": {"backbone_share": 0.0},
}


def settings_of(name: str) -> Settings:
    """Returns the settings of levers joined by `` + ``, each by its name or as ``setting=value``.

    A dot leads into a group of settings (``backbone.architecture=tf_efficientnet_lite0``); the value is JSON
    or plain text, and a later lever overrides those before.

    Raises:
        ValueError: There is no such lever.
    """
    found: Settings = {}
    for part in (part.strip() for part in name.split(" + ")):
        if part in LEVERS:
            found |= LEVERS[part]
        elif "=" in part:
            path, _, value = part.partition("=")
            *groups, last = path.split(".")
            inside = found
            for group in groups:
                inside[group] = dict(inside.get(group, {}))
                inside = inside[group]
            inside[last] = _read(value)
        else:
            raise ValueError(f"no lever {part!r}: give setting=value or one of {', '.join(LEVERS)}")
    return found


def _read(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value
