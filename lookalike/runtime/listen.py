"""Which addresses a server listens on: all that its host means, or none."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Callable

from lookalike.addresses import bare_host, join_address
from lookalike.errors import InvalidInputError, Reason

_ABSENT = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
_CAUSES = {
    errno.EADDRINUSE: "the port is taken",
    errno.EACCES: "the port is not allowed",
    errno.EADDRNOTAVAIL: "this machine does not have the address",
    errno.EAFNOSUPPORT: "this machine does not have this kind of address",
}

_EXPOSED = (
    "other machines reach it, and nothing here is encrypted or asks who calls; the setting insecure"
    " (--insecure) allows it"
)


def listen(host: str, port: int, bind: Callable[[str, int], int], *, exposed: bool) -> int:
    """Binds every address of a host; gRPC by itself is content with one of several.

    Args:
        host: A name or an address, IPv6 with or without brackets.
        port: 0 takes a free one, the same on all addresses.
        bind: Binds a port of one numeric address, and returns the port.
        exposed: Whether addresses that other machines reach are allowed.

    Returns:
        The bound port.

    Raises:
        InvalidInputError: The host is unknown or other machines reach it, or one of its addresses cannot be
            bound (``CONFIG_INVALID``).
    """
    for address in addresses_to_bind(host, port, exposed=exposed):
        try:
            port = bind(address, port)
        except (OSError, RuntimeError) as error:
            # gRPC does not say why.
            cause = _CAUSES.get(getattr(error, "errno", 0), "the port is taken or not allowed")
            raise _refused(address, port, cause) from None
    return port


def addresses_to_bind(host: str, port: int, *, exposed: bool) -> list[str]:
    """Returns the numeric addresses of a host, after a look at whether the port is free there; binds nothing.

    Raises:
        InvalidInputError: As :func:`listen`.
    """
    addresses = _resolved(host, port)
    if not exposed and not all(map(is_loopback, addresses)):
        raise _refused(host, port, _EXPOSED)
    return _usable(host, port, addresses)


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches a numeric address."""
    parsed = ipaddress.ip_address(address)
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).is_loopback


def _resolved(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(bare_host(host), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        raise _refused(host, port, "the host is unknown") from None
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _usable(host: str, port: int, addresses: list[str]) -> list[str]:
    """Returns the addresses that this machine has; a name often has an IPv6 address that it lacks."""
    usable = []
    problem = "the host has no address"
    for address in addresses:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((address, port))
        except OSError as error:
            problem = _CAUSES.get(error.errno or 0, "the address cannot be bound")
            if error.errno not in _ABSENT:
                raise _refused(address, port, problem) from None
        else:
            usable.append(address)
    if not usable:
        raise _refused(host, port, problem)
    return usable


def _refused(host: str, port: int, cause: str) -> InvalidInputError:
    return InvalidInputError(
        f"cannot listen on {join_address(host, port)}: {cause}", reason=Reason.CONFIG_INVALID
    )
