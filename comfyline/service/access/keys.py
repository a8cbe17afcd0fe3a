"""API keys and the operator's switches: their values, and the port of their store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from comfyline.contract.limits import MAX_KEY_NAME
from comfyline.service.access.slots import Limits
from comfyline.service.errors import RequestRefused

if TYPE_CHECKING:
    from comfyline.contract.ids import KeyId, OwnerId


KEYS_SCOPE = "keys"  # of a key that may make and end keys of its owner
# A scope that includes others.
_INCLUDED: Mapping[str, frozenset[str]] = {"jobs": frozenset({"jobs:read"})}


def with_included(scopes: Iterable[str]) -> frozenset[str]:
    """The scopes, and those that they include."""
    return frozenset(scopes).union(*(_INCLUDED.get(scope, frozenset()) for scope in scopes))


def is_key_name(text: str) -> bool:
    """Whether a key can have this name: short, and without characters that harm a terminal.

    A key without a name has the empty one.
    """
    return len(text) <= MAX_KEY_NAME and text == text.strip() and text.isprintable()


# Of the ids of keys that no store has, because an issuer vouches for them: see people.py.
VOUCHED_PREFIX = "sso-"


def is_vouched(key_id: KeyId) -> bool:
    """Whether a person's key has this id."""
    return key_id.startswith(VOUCHED_PREFIX)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """An API key as the store keeps it: with the hash of its secret, without the secret itself."""

    id: KeyId
    secret_sha256: str
    owner: OwnerId
    scopes: frozenset[str]
    created_at: datetime
    name: str = ""  # for people
    expires_at: datetime | None = None
    disabled_at: datetime | None = None
    made_by: KeyId | None = None  # the key that has made it, with which it ends; None: an operator
    revision: int = 0  # raised by each change
    limits: Limits = field(default_factory=Limits)

    @property
    def disabled(self) -> bool:
        """Whether an operator has disabled the key."""
        return self.disabled_at is not None

    @property
    def void_at(self) -> datetime | None:
        """The time from which the key is void; None if nothing has ended it or will."""
        ends = [end for end in (self.disabled_at, self.expires_at) if end is not None]
        return min(ends, default=None)

    def is_void(self, now: datetime) -> bool:
        """Whether the key is disabled, by whatever clock, or has expired."""
        return self.disabled or (self.expires_at is not None and self.expires_at <= now)


@dataclass(frozen=True, slots=True)
class Flags:
    """The operator's switches.

    The service refuses new jobs while `jobs_enabled` is off, and new sockets while
    `websocket_enabled` is off.
    """

    jobs_enabled: bool = True
    websocket_enabled: bool = True


@dataclass(frozen=True, slots=True)
class Switches:
    """The switches, and who has changed one last."""

    flags: Flags = field(default_factory=Flags)
    version: int = 0  # each change raises it
    changed_at: datetime | None = None
    changed_by: str = ""  # the owner of the key; empty: not known, or a command of the operator


class SwitchesChanged(RequestRefused):
    """Another operator has changed the switches since you have read them. Nothing was changed."""

    code = "switches_changed"

    def __init__(self, current: Switches) -> None:
        super().__init__()
        self.current = current  # the switches as they are now


class KeyStore(Protocol):
    """Stores API keys and the operator's switches."""

    def get(self, key_id: KeyId) -> ApiKey | None:
        """The key, or None. The read is consistent, so a disabled key is refused at once."""

    def get_many(self, key_ids: Sequence[KeyId]) -> list[ApiKey]:
        """Those of the keys that exist, in any order, read consistently.

        `key_ids` must not contain an id twice.
        """

    def void_between(self, start: datetime, end: datetime) -> list[KeyId]:
        """The keys that have become void from `start` to `end`. The answer may lag by moments."""

    def owners(self) -> list[OwnerId]:
        """Every owner that has a key, by name. It costs as much as there are keys.

        An owner whose first key is new may be missing for moments.
        """

    def page(self, limit: int, after: KeyId | None) -> tuple[list[ApiKey], KeyId | None]:
        """Some keys in an order of the store, and what to send as `after` for the next ones.

        A page may have fewer keys than `limit`, or none, although more follow.
        """

    def of_owner(self, owner: OwnerId) -> list[ApiKey]:
        """Every key of the owner, oldest first. A new key may be missing for moments."""

    def put(self, key: ApiKey) -> None:
        """Store the key, or replace the stored key of the same id."""

    def change(self, key_id: KeyId, change: Callable[[ApiKey], ApiKey]) -> ApiKey | None:
        """Replace the key by what `change` makes of it, and return that; None if there is no key.

        No change of another call at the same time is lost: `change` is called again with its
        outcome. What `change` raises, this raises.

        Raises:
            Unavailable: too many calls change the key at once; nothing was changed.
        """

    def replace(self, key_id: KeyId, change: Callable[[ApiKey], ApiKey], by: ApiKey) -> bool:
        """`change` the key and store a new one, or neither; False if there is no key to change.

        Raises:
            Unavailable: as for `change`.
        """

    def delete(self, key_id: KeyId) -> None:
        """Remove a key; no error if it is not there."""

    def all(self) -> list[ApiKey]:
        """Every key, oldest first."""

    def watch_owner(self, owner: OwnerId, until: datetime) -> None:
        """Record that a client follows all jobs of the owner until then; a later time is kept."""

    def owner_watched_until(self, owner: OwnerId) -> datetime | None:
        """The mark of `watch_owner`, read consistently; None if there is none."""

    def flags(self) -> Flags:
        """The switches, read consistently. All are on until `switch` is called."""

    def switches(self) -> Switches:
        """The switches with their last change, read consistently."""

    def switch(
        self, changes: Mapping[str, bool], at: datetime, by: str = "", *, seen: int | None = None
    ) -> Switches:
        """Set the named switches, and no others; returns all of them afterwards.

        `seen`: only if this is still the version of the switches.

        Raises:
            SwitchesChanged: the switches have another version. The error carries them.
        """
