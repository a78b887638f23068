"""The rules with all durations made short, so that alerts can be seen to fire and to resolve."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

WINDOWS = {
    "5m": "5s", "10m": "6s", "15m": "20s", "30m": "10s", "1h": "12s", "2h": "15s", "6h": "18s",
    "1d": "20s", "3d": "24s",
}  # fmt: skip
"""Range of a query → what stands for it: five scrapes at least."""
WAITS = {"1m": "1s", "2m": "2s", "5m": "3s", "10m": "4s", "15m": "5s", "30m": "4s", "1h": "8s"}
"""``for`` of an alert → what stands for it."""
THRESHOLDS = {
    "LookalikeCheckpointStuck": ("> 1800", "> 10"),
    "LookalikeDiskWillFill": ("4 * 3600", "4 * 12"),
    "LookalikeIndexDamaged": ("< 3600", "< 12"),
    "LookalikeWalGrows": ("> 268435456", "> 100663296"),
}
"""Alert → a number that is a duration, or takes too long to reach, and what stands for it."""


def scaled(source: Path, target: Path) -> Path:
    """Writes a file of rules with short durations."""
    content = yaml.safe_load(source.read_text())
    for rule in (rule for group in content["groups"] for rule in group["rules"]):
        rule["expr"] = re.sub(r"\[(\w+)\]", lambda match: f"[{WINDOWS[match[1]]}]", rule["expr"])
        if "for" in rule:
            rule["for"] = WAITS[rule["for"]]
        if number := THRESHOLDS.get(rule.get("alert", "")):
            assert number[0] in rule["expr"], rule["expr"]
            rule["expr"] = rule["expr"].replace(*number)
    target.write_text(yaml.safe_dump(content))
    return target
