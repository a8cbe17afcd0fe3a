"""A TCP port for a test's server."""

from __future__ import annotations

import socket


def a_free_port() -> int:
    """A port of the loopback interface that no server uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
