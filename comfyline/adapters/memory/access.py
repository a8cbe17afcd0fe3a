"""Keys, switches, socket passes, slots and semaphores in memory.

Python reads and writes one item of a dictionary at once, so only longer steps hold a lock.
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from threading import RLock

from comfyline.contract.ids import JobId, KeyId, OwnerId
from comfyline.service.access.keys import ApiKey, Flags
from comfyline.service.access.slots import Full, Limits, Taken, minute_of
from comfyline.service.access.socket_passes import SocketPass


class InMemoryKeyStore:
    """`KeyStore` in memory."""

    def __init__(self) -> None:
        self._flags = Flags()
        self._keys: dict[KeyId, ApiKey] = {}

    def get(self, key_id: KeyId) -> ApiKey | None:
        """See KeyStore."""
        return self._keys.get(key_id)

    def get_many(self, key_ids: Sequence[KeyId]) -> list[ApiKey]:
        """See KeyStore."""
        return [self._keys[key_id] for key_id in key_ids if key_id in self._keys]

    def put(self, key: ApiKey) -> None:
        """See KeyStore."""
        self._keys[key.id] = key

    def all(self) -> list[ApiKey]:
        """See KeyStore."""
        return sorted([*self._keys.values()], key=lambda key: (key.created_at, key.id))

    def flags(self) -> Flags:
        """See KeyStore."""
        return self._flags

    def put_flags(self, flags: Flags) -> None:
        """See KeyStore."""
        self._flags = flags


class InMemorySocketPassStore:
    """`SocketPassStore` in memory."""

    def __init__(self) -> None:
        self._passes: dict[str, SocketPass] = {}

    def put(self, socket_pass: SocketPass) -> None:
        """See SocketPassStore."""
        self._passes[socket_pass.sha256] = socket_pass

    def take(self, sha256: str) -> SocketPass | None:
        """See SocketPassStore."""
        return self._passes.pop(sha256, None)


@dataclass(slots=True)
class _Owner:
    slots: dict[JobId, datetime] = field(default_factory=dict)
    minute: int = 0
    posts: int = 0


class InMemoryOwnerStore:
    """`OwnerStore` in memory."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._owners: defaultdict[OwnerId, _Owner] = defaultdict(_Owner)

    def take_slot(
        self, owner: OwnerId, job_id: JobId, limits: Limits, now: datetime
    ) -> Taken | Full:
        """See OwnerStore."""
        cap, rate = limits.max_active_jobs, limits.jobs_per_minute
        minute = minute_of(now)
        with self._lock:
            row = self._owners[owner]
            is_new = job_id not in row.slots
            posts = row.posts if row.minute == minute else 0
            if is_new and cap is not None and len(row.slots) >= cap:
                return Full(dict(row.slots), by_rate=False)
            if rate is not None and posts >= rate:
                return Full(dict(row.slots), by_rate=True)
            row.slots[job_id], row.minute, row.posts = now, minute, posts + 1
            return Taken(is_new, now)

    def give_back(self, owner: OwnerId, job_id: JobId, taken: Taken) -> None:
        """See OwnerStore."""
        with self._lock:
            slots = self._owners[owner].slots
            if slots.get(job_id) == taken.at:
                del slots[job_id]

    def free_slot(self, owner: OwnerId, job_id: JobId, ended_at: datetime) -> None:
        """See OwnerStore."""
        with self._lock:
            slots = self._owners[owner].slots
            if job_id in slots and slots[job_id] <= ended_at:
                del slots[job_id]

    def slots(self, shard: int) -> list[tuple[OwnerId, Mapping[JobId, datetime]]]:
        """See OwnerStore. All owners are in shard 0."""
        with self._lock:
            rows = self._owners.items() if shard == 0 else ()
            return [(owner, dict(row.slots)) for owner, row in rows if row.slots]


class InMemorySemaphore:
    """`Semaphore` in memory."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._places: dict[str, datetime] = {}

    def enter(self, limit: int, *, now: datetime, until: datetime) -> str | None:
        """See Semaphore."""
        with self._lock:
            self._places = {place: end for place, end in self._places.items() if end > now}
            if len(self._places) >= limit:
                return None
            place = secrets.token_hex(8)
            self._places[place] = until
            return place

    def leave(self, place: str) -> None:
        """See Semaphore."""
        with self._lock:
            self._places.pop(place, None)
