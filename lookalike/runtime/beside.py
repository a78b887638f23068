"""What a process serves next to the gRPC server of Python, on a port of its own."""

from __future__ import annotations

from typing import Protocol

from lookalike.runtime.tracing import Tracing


class Beside(Protocol):
    """A further server, which starts and stops with :class:`lookalike.runtime.server.ServerRunner`."""

    def start(self, tracing: Tracing | None) -> dict[str, int]:
        """Binds, and returns the bound ports by the names that the ready file gives them.

        Args:
            tracing: Makes spans of calls; None: nothing is traced.

        Raises:
            InvalidInputError: A port cannot be bound (``CONFIG_INVALID``).
        """
        ...

    def set_serving(self, service: str, serving: bool) -> None:
        """Says what the health of a service is, by its full name."""
        ...

    async def stop(self, grace_seconds: float) -> None:
        """Takes no new calls, gives running ones time to end, and frees the port."""
        ...
