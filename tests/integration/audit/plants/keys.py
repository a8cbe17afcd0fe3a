"""Inconsistencies in keys and switches."""

from __future__ import annotations

from typing import Any

from comfyline.adapters.aws.attributes import time_of
from comfyline.operate.audit.source import Table
from tests.integration.audit.plants.plant import DAY, found_as, n
from tests.support.audited import (
    BEAR_KEY,
    FOX_KEY,
    Deployed,
)


def _key(d: Deployed, **attributes: Any) -> None:
    d.set(Table.KEYS, BEAR_KEY, "", **attributes)


@found_as("key", "no name of an owner")
def key_of_a_reserved_owner(d: Deployed) -> None:
    """A key is of the owner ~waits, with the scope admin."""
    _key(d, owner={"S": "~waits"}, scopes={"L": [{"S": "admin"}]})


@found_as("key", "has the scopes")
def key_of_unknown_scope(d: Deployed) -> None:
    """A key has a scope that does not exist."""
    _key(d, scopes={"L": [{"S": "root"}]})


@found_as("key", "has the scopes")
def made_key_that_makes_keys(d: Deployed) -> None:
    """A key that a key has made has the scope keys."""
    scopes = {"L": [{"S": "jobs"}, {"S": "keys"}]}
    _key(d, scopes=scopes, made_by={"S": "0" * 15 + "9"})


@found_as("key", "cannot have made it")
def key_made_by_another_owner(d: Deployed) -> None:
    """A key was made by the key of another owner."""
    _key(d, made_by={"S": FOX_KEY})


@found_as("key", "cannot be read")
def key_unreadable(d: Deployed) -> None:
    """A key has no owner."""
    _key(d, owner=None)


@found_as("key", "no SHA-256 of a secret")
def key_with_a_plain_secret(d: Deployed) -> None:
    """A key holds a secret instead of its hash."""
    _key(d, secret_sha256={"S": "secret"})


@found_as("key", "no key can have")
def key_of_a_strange_id(d: Deployed) -> None:
    """A key has an id that no token can name."""
    d.put(Table.KEYS, d.item(Table.KEYS, BEAR_KEY) | {"pk": {"S": "bears key"}})


@found_as("key", "has max_active_jobs")
def key_with_a_huge_cap(d: Deployed) -> None:
    """A key allows more jobs than a deployment can count."""
    _key(d, max_active_jobs=n(10**9))


@found_as("key", "expired before it was created")
def key_expired_before_creation(d: Deployed) -> None:
    """A key expired before it was created."""
    _key(d, expires_at=time_of(d.now - 30 * DAY))


@found_as("key", "created in the future")
def key_of_the_future(d: Deployed) -> None:
    """A key was created next year."""
    _key(d, created_at=time_of(d.now + 365 * DAY))


@found_as("key", "is not a switch")
def switch_unreadable(d: Deployed) -> None:
    """A switch of the operator holds a text."""
    d.set(Table.KEYS, "flags", "", jobs_enabled={"S": "yes"})
