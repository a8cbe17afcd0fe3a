"""How many keys an owner may make, and which rows are removed."""

from __future__ import annotations

from datetime import timedelta

import pytest

from comfyline.adapters.memory.access import InMemoryKeyStore
from comfyline.contract.ids import KeyId, OwnerId
from comfyline.contract.limits import MAX_OWN_KEYS
from comfyline.service.access.authenticate import create_key
from comfyline.service.access.own_keys import KEPT_AFTER_END, NewKey, OwnKeys, Service
from comfyline.service.access.slots import Limits
from comfyline.service.errors import TooManyKeys
from tests.support.builders import FrozenClock

OWNER, DAY = OwnerId("acme"), timedelta(days=1)
FOR_A_DAY = NewKey(name="", scopes=frozenset({"jobs"}), lifetime=DAY, limits=Limits())


class Account:
    """An owner with a maker."""

    def __init__(self) -> None:
        self.clock, self.keys = FrozenClock(), InMemoryKeyStore()
        self.own = OwnKeys(keys=self.keys, service=Service(6_000, 100), clock=self.clock)
        self.maker = self.new_key("jobs", "keys")

    def new_key(self, *scopes: str) -> KeyId:
        """A key that an operator makes."""
        keys, clock = self.keys, self.clock
        key, _ = create_key(OWNER, scopes=scopes, expires_at=None, keys=keys, clock=clock)
        return key.id

    def make(self) -> KeyId:
        """A key that the maker makes."""
        key, _ = self.own.make(FOR_A_DAY, self.maker)
        return key.id


def test_an_owner_makes_a_bounded_number_of_keys() -> None:
    account = Account()
    made = [account.make() for _ in range(MAX_OWN_KEYS)]
    account.own.end(made[0], account.maker)
    with pytest.raises(TooManyKeys):
        account.make()
    with pytest.raises(TooManyKeys):
        account.own.rotate(made[1], account.maker, DAY)


def test_keys_that_ended_long_ago_make_room() -> None:
    account = Account()
    of_operator = account.new_key("jobs")
    account.own.end(of_operator, account.maker)
    made = [account.make() for _ in range(MAX_OWN_KEYS)]
    account.clock.advance((DAY + KEPT_AFTER_END).total_seconds())
    with pytest.raises(TooManyKeys):
        account.make()
    account.clock.advance(1)
    new = account.make()
    found = {key.id for key in account.keys.all()}
    assert found == {account.maker, of_operator, new}
    assert not found & {*made}
