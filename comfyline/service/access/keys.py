"""API keys and the operator's switches: the values and their store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from comfyline.service.access.slots import Limits

if TYPE_CHECKING:
    from comfyline.contract.ids import KeyId, OwnerId


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
