"""What every SocketTicketStore does."""

from __future__ import annotations

from datetime import timedelta

from comfyline.domain.ids import KeyId
from comfyline.ports import SocketTicket, SocketTicketStore
from tests.support.builders import NOW, an_owner


def test_a_ticket_is_taken_once(ticket_store: SocketTicketStore) -> None:
    ticket = SocketTicket("ab" * 32, an_owner(), KeyId("key_1"), NOW + timedelta(seconds=60))
    ticket_store.put(ticket)
    assert [ticket_store.take(ticket.sha256) for _ in range(2)] == [ticket, None]


def test_an_unknown_ticket_is_none(ticket_store: SocketTicketStore) -> None:
    assert ticket_store.take("cd" * 32) is None
