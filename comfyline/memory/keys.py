"""Keys, switches and socket tickets in memory. A ticket is taken once."""

from __future__ import annotations

from collections.abc import Sequence
from threading import RLock

from comfyline.domain.ids import KeyId
from comfyline.ports import ApiKey, Flags, SocketTicket


class InMemoryKeyStore:
    """`KeyStore` in memory."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._flags = Flags()
        self._keys: dict[KeyId, ApiKey] = {}

    def get(self, key_id: KeyId) -> ApiKey | None:
        """See KeyStore."""
        with self._lock:
            return self._keys.get(key_id)

    def get_many(self, key_ids: Sequence[KeyId]) -> list[ApiKey]:
        """See KeyStore."""
        with self._lock:
            return [self._keys[key_id] for key_id in key_ids if key_id in self._keys]

    def put(self, key: ApiKey) -> None:
        """See KeyStore."""
        with self._lock:
            self._keys[key.id] = key

    def all(self) -> list[ApiKey]:
        """See KeyStore."""
        with self._lock:
            return sorted(self._keys.values(), key=lambda key: (key.created_at, key.id))

    def flags(self) -> Flags:
        """See KeyStore."""
        return self._flags

    def put_flags(self, flags: Flags) -> None:
        """See KeyStore."""
        self._flags = flags


class InMemorySocketTicketStore:
    """`SocketTicketStore` in memory."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._tickets: dict[str, SocketTicket] = {}

    def put(self, ticket: SocketTicket) -> None:
        """See SocketTicketStore."""
        with self._lock:
            self._tickets[ticket.sha256] = ticket

    def take(self, sha256: str) -> SocketTicket | None:
        """See SocketTicketStore."""
        with self._lock:
            return self._tickets.pop(sha256, None)
