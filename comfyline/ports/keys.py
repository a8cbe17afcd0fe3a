"""Who may call. No secret is kept, only its hash, and a disabling counts at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from comfyline.ports.owners import Limits

if TYPE_CHECKING:
    from comfyline.domain.ids import KeyId, OwnerId


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key as it is stored: never the secret itself."""

    id: KeyId
    secret_sha256: str
    owner: OwnerId
    scopes: frozenset[str]
    created_at: datetime
    expires_at: datetime | None = None
    disabled: bool = False
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Flags:
    """What an operator can switch off."""

    jobs_enabled: bool = True
    websocket_enabled: bool = True


class KeyStore(Protocol):
    """API keys, and the operator's switches beside them."""

    def get(self, key_id: KeyId) -> ApiKey | None:
        """The key, read consistently: a disabling counts at once."""

    def get_many(self, key_ids: Sequence[KeyId]) -> list[ApiKey]:
        """The keys that exist among these, which are distinct; read consistently, in no order."""

    def put(self, key: ApiKey) -> None:
        """Store or replace a key."""

    def all(self) -> list[ApiKey]:
        """Every key, oldest first."""

    def flags(self) -> Flags:
        """The switches, read consistently; all on if nobody has touched them."""

    def put_flags(self, flags: Flags) -> None:
        """Set the switches."""


@dataclass(frozen=True, slots=True)
class SocketTicket:
    """Leave to open one socket, for a client that cannot send a header."""

    sha256: str  # of the ticket; the ticket itself is told once and not kept
    owner: OwnerId
    key_id: KeyId
    expires_at: datetime


class SocketTicketStore(Protocol):
    """Tickets that have not been used."""

    def put(self, ticket: SocketTicket) -> None:
        """Store a ticket."""

    def take(self, sha256: str) -> SocketTicket | None:
        """Remove the ticket and return it: of two that take it, one gets it."""
