"""Keys and one-time tickets: what opens, and that nothing else does."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyline.adapters.memory.access import InMemoryKeyStore, InMemorySocketPassStore
from comfyline.contract.ids import KeyId, OwnerId
from comfyline.service.access.authenticate import (
    TICKET_LIFETIME,
    authenticate,
    create_key,
    create_ticket,
    disable_key,
    redeem_ticket,
)
from comfyline.service.access.keys import ApiKey
from tests.support.builders import NOW, FrozenClock

FOX = OwnerId("fox")
DAY = timedelta(days=1)


class Gate:
    """Whatever opens it, and what may be presented."""

    def __init__(self) -> None:
        self.clock = FrozenClock()
        self.keys = InMemoryKeyStore()
        self.tickets = InMemorySocketPassStore()
        self.key, self.token = create_key(
            FOX, scopes=["jobs"], expires_at=NOW + DAY, keys=self.keys, clock=self.clock
        )

    def opens(self, authorization: str | None) -> ApiKey | None:
        return authenticate(authorization, keys=self.keys, clock=self.clock)

    def ticket(self) -> str:
        _, ticket = create_ticket(FOX, self.key.id, tickets=self.tickets, clock=self.clock)
        return ticket

    def redeem(self, ticket: str) -> ApiKey | None:
        return redeem_ticket(ticket, tickets=self.tickets, keys=self.keys, clock=self.clock)


def test_a_key_opens_until_it_is_over() -> None:
    gate = Gate()
    assert gate.opens(f"Bearer {gate.token}") == gate.key
    gate.clock.advance(DAY - timedelta.resolution)
    assert gate.opens(f"bearer {gate.token} ") == gate.key
    gate.clock.advance(timedelta.resolution)
    assert gate.opens(f"Bearer {gate.token}") is None


def test_no_secret_is_kept_and_two_keys_share_none() -> None:
    gate = Gate()
    other, token = create_key(FOX, scopes=[], expires_at=None, keys=gate.keys, clock=gate.clock)
    assert {other.id, other.secret_sha256}.isdisjoint({gate.key.id, gate.key.secret_sha256})
    for kept in (gate.key, other):
        assert gate.token.split("_", 2)[2] not in repr(kept)
        assert token.split("_", 2)[2] not in repr(kept)
    mixed = f"cl_{other.id}_{gate.token.split('_', 2)[2]}"
    assert gate.opens(f"Bearer {mixed}") is None


@given(st.data())
def test_one_character_off_opens_nothing(data: st.DataObject) -> None:
    gate = Gate()
    header = f"Bearer {gate.token}"
    place = data.draw(st.integers(len("Bearer "), len(header) - 1))
    other = data.draw(st.characters().filter(lambda c: c != header[place] and not c.isspace()))
    assert gate.opens(header[:place] + other + header[place + 1 :]) is None


@given(st.none() | st.text(max_size=80) | st.text(max_size=80).map("Bearer ".__add__))
def test_whatever_is_presented_is_refused_without_an_error(header: str | None) -> None:
    assert Gate().opens(header) is None


def test_a_disabled_key_opens_nothing_and_keeps_the_rest() -> None:
    gate = Gate()
    assert disable_key(gate.key.id, keys=gate.keys) == replace(gate.key, disabled=True)
    assert gate.opens(f"Bearer {gate.token}") is None
    assert disable_key(KeyId("unknown"), keys=gate.keys) is None


class TestTicket:
    def test_it_opens_one_socket_with_the_key_that_made_it(self) -> None:
        gate = Gate()
        ticket = gate.ticket()
        assert [gate.redeem(ticket), gate.redeem(ticket)] == [gate.key, None]

    def test_of_many_at_once_one_gets_in(self) -> None:
        gate = Gate()
        ticket = gate.ticket()
        with ThreadPoolExecutor(8) as crowd:
            found = list(crowd.map(gate.redeem, [ticket] * 50))
        assert sum(key is not None for key in found) == 1

    @pytest.mark.parametrize(
        "end",
        [
            lambda gate: gate.clock.advance(TICKET_LIFETIME),
            lambda gate: disable_key(gate.key.id, keys=gate.keys),
            lambda gate: gate.keys.put(replace(gate.key, expires_at=NOW)),
        ],
        ids=["its time is over", "its key is disabled", "its key has expired"],
    )
    def test_it_is_void_with(self, end: Callable[[Gate], object]) -> None:
        gate = Gate()
        ticket = gate.ticket()
        end(gate)
        assert gate.redeem(ticket) is None

    @given(st.text(max_size=50))
    def test_no_other_text_is_one(self, text: str) -> None:
        gate = Gate()
        gate.ticket()
        assert gate.redeem(text) is None
