"""Expressions that many panels share."""

from __future__ import annotations

from deploy.grafana.panels import Query

IN = 'namespace=~"$namespace"'


def rate(metric: str, selector: str = IN, by: str = "", window: str = "$__rate_interval") -> str:
    """Returns the sum of the rates of a counter, a second, by labels."""
    return f"sum{_by(by)} (rate({metric}{{{selector}}}[{window}]))"


def quantile(q: float, histogram: str, selector: str = IN, by: str = "") -> str:
    """Returns a quantile of a histogram, 0..1, by labels."""
    buckets = rate(f"{histogram}_bucket", selector, f"le, {by}" if by else "le")
    return f"histogram_quantile({q}, {buckets})"


def quantiles(histogram: str, selector: str = IN) -> list[Query]:
    """Returns the median, p95 and p99 of a histogram."""
    return [Query(quantile(q, histogram, selector), f"p{round(q * 100)}") for q in (0.5, 0.95, 0.99)]


def mean(histogram: str, selector: str = IN, by: str = "", window: str = "$__rate_interval") -> str:
    """Returns the mean of what a histogram took, by labels; nothing while it took nothing."""
    total, number = (rate(f"{histogram}_{part}", selector, by, window) for part in ("sum", "count"))
    return f"{total} / ({number} > 0)"


def _by(labels: str) -> str:
    return f" by ({labels})" if labels else ""
