"""What every SocketPassStore does."""

from __future__ import annotations

from datetime import timedelta

from comfyline.contract.ids import KeyId
from comfyline.service.access.socket_passes import SocketPass, SocketPassStore
from tests.support.builders import NOW, an_owner


def test_a_pass_is_taken_once(socket_passes: SocketPassStore) -> None:
    socket_pass = SocketPass("ab" * 32, an_owner(), KeyId("key_1"), NOW + timedelta(seconds=60))
    socket_passes.put(socket_pass)
    assert [socket_passes.take(socket_pass.sha256) for _ in range(2)] == [socket_pass, None]


def test_an_unknown_pass_is_none(socket_passes: SocketPassStore) -> None:
    assert socket_passes.take("cd" * 32) is None
