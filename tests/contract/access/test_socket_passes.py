"""What every SocketPassStore does."""

from __future__ import annotations

from datetime import timedelta

from comfyline.contract.ids import KeyId
from comfyline.service.access.socket_passes import SocketPass, SocketPassStore
from tests.support.builders import NOW, an_owner


def test_a_ticket_is_taken_once(ticket_store: SocketPassStore) -> None:
    ticket = SocketPass("ab" * 32, an_owner(), KeyId("key_1"), NOW + timedelta(seconds=60))
    ticket_store.put(ticket)
    assert [ticket_store.take(ticket.sha256) for _ in range(2)] == [ticket, None]


def test_an_unknown_ticket_is_none(ticket_store: SocketPassStore) -> None:
    assert ticket_store.take("cd" * 32) is None
