"""One-time credentials that open a WebSocket: the value and its store."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from comfyline.contract.ids import KeyId, OwnerId


@dataclass(frozen=True, slots=True)
class SocketPass:
    """Leave to open one socket, for a client that cannot send a header."""

    sha256: str  # of the ticket; the ticket itself is told once and not kept
    owner: OwnerId
    key_id: KeyId
    expires_at: datetime


class SocketPassStore(Protocol):
    """Tickets that have not been used."""

    def put(self, ticket: SocketPass) -> None:
        """Store a ticket."""

    def take(self, sha256: str) -> SocketPass | None:
        """Remove the ticket and return it: of two that take it, one gets it."""
