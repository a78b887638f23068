"""The examples of the client can be pasted: what they use they import."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import lookalike.client

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("text", [(ROOT / "README.md").read_text(), lookalike.client.__doc__])
def test_examples_import_what_they_use(text: str) -> None:
    used = {name for name in lookalike.client.__all__ if re.search(rf"\b{name}\(", text)}
    imported = set(re.findall(r"\w+", " ".join(re.findall(r"from lookalike\.client import (.+)", text))))
    assert used
    assert used <= imported
