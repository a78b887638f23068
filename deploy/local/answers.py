"""Calls of servers on this machine by HTTP, past whatever proxies the environment names."""

from __future__ import annotations

import urllib.request

DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def is_answered(url: str) -> bool:
    """Returns whether a server is up and answers that all is well."""
    try:
        with DIRECT.open(url, timeout=1):
            return True
    except OSError:
        return False
