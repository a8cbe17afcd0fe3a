"""API keys and socket passes: valid ones are accepted, and all others are refused."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyline.adapters.memory.access import (
    InMemoryKeyStore,
    InMemorySessionStore,
    InMemorySocketPassStore,
    InMemoryTokenStore,
)
from comfyline.contract.ids import KeyId, OwnerId
from comfyline.service.access.authenticate import (
    SOCKET_PASS_LIFETIME,
    authenticate,
    create_key,
    create_socket_pass,
    disable_key,
    redeem_socket_pass,
)
from comfyline.service.access.keys import ApiKey
from tests.support.builders import NOW, FrozenClock

FOX = OwnerId("fox")
DAY = timedelta(days=1)


class Access:
    """The stores, with one key of the owner `fox`."""

    def __init__(self) -> None:
        self.clock = FrozenClock()
        self.keys = InMemoryKeyStore()
        self.passes = InMemorySocketPassStore()
        self.tokens = InMemoryTokenStore()
        self.key, self.token = create_key(
            FOX, scopes=["jobs"], expires_at=NOW + DAY, keys=self.keys, clock=self.clock
        )

    def authenticate(self, authorization: str | None) -> ApiKey | None:
        found = authenticate(
            authorization,
            keys=self.keys,
            tokens=lambda: self.tokens,
            sessions=InMemorySessionStore,
            clock=self.clock,
        )
        return found and found.key

    def new_pass(self) -> str:
        _, secret = create_socket_pass(FOX, self.key.id, passes=self.passes, clock=self.clock)
        return secret

    def redeem(self, secret: str) -> ApiKey | None:
        found = redeem_socket_pass(
            secret,
            passes=self.passes,
            keys=self.keys,
            tokens=lambda: self.tokens,
            sessions=InMemorySessionStore,
            clock=self.clock,
        )
        return found and found.key


def test_a_key_is_accepted_until_it_expires() -> None:
    access = Access()
    assert access.authenticate(f"Bearer {access.token}") == access.key
    access.clock.advance(DAY - timedelta.resolution)
    assert access.authenticate(f"bearer {access.token} ") == access.key
    access.clock.advance(timedelta.resolution)
    assert access.authenticate(f"Bearer {access.token}") is None


def test_no_secret_is_stored_and_no_two_keys_share_one() -> None:
    access = Access()
    other, token = create_key(FOX, scopes=[], expires_at=None, keys=access.keys, clock=access.clock)
    assert {other.id, other.secret_sha256}.isdisjoint({access.key.id, access.key.secret_sha256})
    for stored in (access.key, other):
        assert access.token.split("_", 2)[2] not in repr(stored)
        assert token.split("_", 2)[2] not in repr(stored)
    mixed = f"cl_{other.id}_{access.token.split('_', 2)[2]}"
    assert access.authenticate(f"Bearer {mixed}") is None


@given(st.data())
def test_a_token_with_one_wrong_character_is_refused(data: st.DataObject) -> None:
    access = Access()
    header = f"Bearer {access.token}"
    place = data.draw(st.integers(len("Bearer "), len(header) - 1))
    other = data.draw(st.characters().filter(lambda c: c != header[place] and not c.isspace()))
    assert access.authenticate(header[:place] + other + header[place + 1 :]) is None


@given(st.none() | st.text(max_size=80) | st.text(max_size=80).map("Bearer ".__add__))
def test_any_other_header_is_refused_without_an_error(header: str | None) -> None:
    assert Access().authenticate(header) is None


def test_a_disabled_key_is_refused_and_its_other_fields_stay() -> None:
    access = Access()
    disabled = disable_key(access.key.id, keys=access.keys, clock=access.clock)
    assert disabled == replace(access.key, disabled_at=access.clock(), revision=1)
    assert access.authenticate(f"Bearer {access.token}") is None
    access.clock.advance(1)
    assert disable_key(access.key.id, keys=access.keys, clock=access.clock) == disabled
    assert disable_key(KeyId("unknown"), keys=access.keys, clock=access.clock) is None


class TestSocketPass:
    def test_a_pass_returns_its_key_once(self) -> None:
        access = Access()
        secret = access.new_pass()
        assert [access.redeem(secret), access.redeem(secret)] == [access.key, None]

    def test_one_of_many_simultaneous_calls_gets_the_key(self) -> None:
        access = Access()
        secret = access.new_pass()
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(access.redeem, [secret] * 50))
        assert sum(key is not None for key in found) == 1

    @pytest.mark.parametrize(
        "invalidate",
        [
            lambda access: access.clock.advance(SOCKET_PASS_LIFETIME),
            lambda access: disable_key(access.key.id, keys=access.keys, clock=access.clock),
            lambda access: access.keys.put(replace(access.key, expires_at=NOW)),
        ],
        ids=["the pass has expired", "its key is disabled", "its key has expired"],
    )
    def test_a_pass_is_refused_if(self, invalidate: Callable[[Access], object]) -> None:
        access = Access()
        secret = access.new_pass()
        invalidate(access)
        assert access.redeem(secret) is None

    @given(st.text(max_size=50))
    def test_any_other_text_is_refused(self, text: str) -> None:
        access = Access()
        access.new_pass()
        assert access.redeem(text) is None
