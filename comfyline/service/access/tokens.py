"""Tokens: short-lived credentials that a key makes for browsers, and that can do less than the key.

A token is random, and the store holds its hash only, as of a key: who reads the table cannot call
the API. It names its key, so that it ends with the key.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from comfyline.contract.ids import KeyId, OwnerId, UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token as the store keeps it: with the hash of its secret, without the secret itself."""

    sha256: str
    owner: OwnerId
    key_id: KeyId
    user: UserId | None  # sees and touches only what was made in this name; None: as the key
    scopes: frozenset[str]
    expires_at: datetime
    max_jobs: int | None = None  # how many jobs it may make in all
    session: str | None = None  # the hash of the session that it ends with: see sessions.py


@dataclass(frozen=True, slots=True, kw_only=True)
class NewToken:
    """A token that a key's holder asks for."""

    user: UserId | None
    scopes: frozenset[str]
    lifetime: timedelta
    max_jobs: int | None = None


class TokenStore(Protocol):
    """Stores tokens until they expire."""

    def put(self, token: Token) -> None:
        """Store a token."""

    def get(self, sha256: str) -> Token | None:
        """The token, also if it has expired; None if it is not there. The read is consistent."""


def hash_of(secret: str) -> str:
    """The hash under which a secret is stored.

    A fast one is enough, because every secret is 256 random bits and none is a password.
    """
    return hashlib.sha256(secret.encode()).hexdigest()
