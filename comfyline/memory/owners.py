"""Slots of owners in memory. Looking for room and taking it happen under one lock."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from threading import RLock

from comfyline.domain.ids import JobId, OwnerId
from comfyline.ports import Full, Limits, Taken, minute_of


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
        """See OwnerStore; everything is in the first shard."""
        with self._lock:
            rows = self._owners.items() if shard == 0 else ()
            return [(owner, dict(row.slots)) for owner, row in rows if row.slots]
