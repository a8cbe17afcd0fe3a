"""A confined process cannot open TCP connections, and still accepts them."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from gpu_worker.confinement import can_confine

pytestmark = pytest.mark.skipif(not can_confine(), reason="this kernel has no Landlock for TCP")

CONNECT = """
import socket, sys
try:
    socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=2)
    print("connected")
except PermissionError:
    print("denied")
"""


def run(program: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


CONFINED = f"""
import socket, subprocess, sys
from gpu_worker.confinement import confine
assert confine()
port = sys.argv[1]
exec({CONNECT!r})
child = [sys.executable, "-c", {CONNECT!r}, port]
print(subprocess.run(child, capture_output=True, text=True).stdout)
"""


@pytest.fixture
def port() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield str(server.getsockname()[1])


def test_without_confinement_a_connection_opens(port: str) -> None:
    assert run(CONNECT, port) == "connected"


def test_neither_the_process_nor_its_children_can_connect(port: str) -> None:
    assert run(CONFINED, port).split() == ["denied", "denied"]


def test_it_still_accepts_connections() -> None:
    program = """
import socket
from gpu_worker.confinement import confine
assert confine()
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
server.settimeout(10)
connection, _ = server.accept()
connection.sendall(b"hello")
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as it:
        assert it.stdout is not None
        with socket.create_connection(("127.0.0.1", int(it.stdout.readline())), timeout=10) as mine:
            assert mine.recv(5) == b"hello"
