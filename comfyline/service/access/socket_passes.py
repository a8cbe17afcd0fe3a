"""Socket passes: one-time credentials that open a WebSocket. The value, and its store's port."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from comfyline.contract.ids import KeyId, OwnerId
    from comfyline.service.access.keys import ApiKey


@dataclass(frozen=True, slots=True)
class SocketPass:
    """Permits one socket to a browser, which cannot send an `Authorization` header with it."""

    sha256: str  # hash of the secret; the secret itself is not stored
    owner: OwnerId
    key_id: KeyId
    expires_at: datetime
    token: str | None = None  # the hash of the token that made it; None: the key itself did
    vouched: ApiKey | None = None  # the key, where it is a person's, which no store has


class SocketPassStore(Protocol):
    """Stores the socket passes that have not been used."""

    def put(self, socket_pass: SocketPass) -> None:
        """Store a pass."""

    def take(self, sha256: str) -> SocketPass | None:
        """Remove the pass and return it; None if it is not there.

        If two callers take the same pass at once, one of them gets it and the other gets None.
        """
