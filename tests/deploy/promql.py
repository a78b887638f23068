"""Which metrics and labels a PromQL expression names; enough of its grammar for the expressions here."""

from __future__ import annotations

import re

KEYWORDS = {"and", "or", "unless", "bool", "offset", "inf", "nan"}
_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')
_COMMENT = re.compile(r"#.*")
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_BARE_GROUPING = re.compile(r"\b(?:group_left|group_right)\b")
_SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)?\s*\{([^}]*)\}")
_MATCHER = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
_RANGE = re.compile(r"\[[^\]]*\]")
_NAME = re.compile(r"(?<![\w:.])([a-zA-Z_:][\w:]*)(?!\s*\()(?![\w:])")


def _plain(expression: str) -> str:
    return _RANGE.sub("", _COMMENT.sub("", _TEXT.sub('""', expression)))


def metrics(expression: str) -> set[str]:
    """Returns the names of the series that an expression selects."""
    plain = _BARE_GROUPING.sub("", _GROUPING.sub("", _plain(expression)))
    return set(_NAME.findall(re.sub(r"\{[^}]*\}", "", plain))) - KEYWORDS


def selected_labels(expression: str) -> list[tuple[str, set[str]]]:
    """Returns (metric, labels) of each selector with braces."""
    found = _SELECTOR.findall(_plain(expression))
    return [(metric, set(_MATCHER.findall(matchers))) for metric, matchers in found]


def grouped_labels(expression: str) -> set[str]:
    """Returns the labels that an expression groups or matches by."""
    groups = _GROUPING.findall(_plain(expression))
    return {label.strip() for group in groups for label in group.split(",") if label.strip()}
