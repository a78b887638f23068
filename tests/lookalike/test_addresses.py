from __future__ import annotations

import re

import pytest

from lookalike.addresses import HasherAddress, check_address


@pytest.mark.parametrize("text", ["127.0.0.1:8001", "[::1]:7700", "dns:///hasher-0.hashers:7710", "triton:1"])
def test_addresses_are_taken_as_they_are(text: str) -> None:
    assert check_address(text) == text


@pytest.mark.parametrize(("text", "address"), [("::1:7700", "[::1]:7700"), ("fd00::2:1", "[fd00::2]:1")])
def test_ipv6_gets_its_brackets(text: str, address: str) -> None:
    assert check_address(text) == address


@pytest.mark.parametrize(
    "text",
    ["", "localhost", ":8001", "host:", "host:0", "host:65536", "http://host:8001", "::1", "fd00::2", "[::1]",
     "[::1:7700", "::1]:7700", "a:b:1", "host:١"],
)  # fmt: skip
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"{text!r} must be host:port")):
        check_address(text)


@pytest.mark.parametrize(
    ("text", "calls", "searches"),
    [
        ("127.0.0.1:7710", "127.0.0.1:7710", "127.0.0.1:7810"),
        ("hasher-0:7710/9000", "hasher-0:7710", "hasher-0:9000"),
        ("::1:7710/9000", "[::1]:7710", "[::1]:9000"),
        ("dns:///hasher-0.hashers:7710", "dns:///hasher-0.hashers:7710", "dns:///hasher-0.hashers:7810"),
        ("dns:///hasher-0.hashers:7710/1", "dns:///hasher-0.hashers:7710", "dns:///hasher-0.hashers:1"),
    ],
)
def test_a_hasher_has_an_address_for_searches(text: str, calls: str, searches: str) -> None:
    assert HasherAddress.parse(text) == (calls, searches)


@pytest.mark.parametrize("text", ["a", "a:1/", "a:1/b", "a:1/70000", "a:65500", "a:1/2/3", "/1", "a/1"])
def test_what_is_no_hasher(text: str) -> None:
    with pytest.raises(ValueError, match="must be host:port or host:port/search_port"):
        HasherAddress.parse(text)
