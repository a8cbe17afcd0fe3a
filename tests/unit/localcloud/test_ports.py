"""The ports that a local cloud chooses for its processes."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from localcloud.state import CHOSEN_PORTS, free_port, is_free

KERNELS_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")


@pytest.mark.skipif(not KERNELS_PORTS.exists(), reason="needs Linux")
def test_the_kernel_gives_no_chosen_port_to_another_process() -> None:
    lowest, _ = map(int, KERNELS_PORTS.read_text().split())
    assert max(range(*CHOSEN_PORTS)) < lowest


def test_a_port_on_which_a_server_listens_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert not is_free(server.getsockname()[1])


def test_a_port_that_is_not_free_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = CHOSEN_PORTS[0], CHOSEN_PORTS[0] + 1
    monkeypatch.setattr("localcloud.state.CHOSEN_PORTS", (first, second + 1))
    monkeypatch.setattr("localcloud.state.is_free", lambda port: port == second)
    assert free_port() == second
