"""The workers in memory. A test sets how many have started."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from threading import RLock

from comfyline.contract.ids import WorkerId
from comfyline.service.fleet.capacity import Capacity, FleetSize, Sizes
from comfyline.service.fleet.workers import CRASH_WINDOW, Presence, Recent


class InMemoryPresenceStore:
    """`PresenceStore` in memory."""

    def __init__(self) -> None:
        self._reports: dict[WorkerId, Presence] = {}
        self._revisions = frozenset[str]()

    def put(self, presence: Presence) -> frozenset[str]:
        """See PresenceStore."""
        self._reports[presence.worker_id] = presence
        return self._revisions

    def want(self, revisions: frozenset[str]) -> None:
        """See PresenceStore."""
        self._revisions = revisions

    def active(self, now: datetime) -> list[Presence]:
        """See PresenceStore."""
        return [report for report in list(self._reports.values()) if report.expires_at > now]


class InMemoryFleet:
    """`Fleet` in memory. A test sets which workers run, and their revision."""

    def __init__(self) -> None:
        self.is_deployed = True
        self.running = Sizes()
        self.revisions = frozenset[str]()
        self._desired = Sizes()

    def size(self) -> FleetSize | None:
        """See Fleet."""
        if not self.is_deployed:
            return None
        return FleetSize(self._desired, self.running, self.revisions)

    def resize(self, capacity: Capacity, workers: int) -> None:
        """See Fleet."""
        self._desired = replace(self._desired, **{capacity.value: workers})


class InMemoryScalingMemory:
    """`ScalingMemory` in memory."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._recent = Recent()
        self._woken_at: datetime | None = None
        self._crashes: list[datetime] = []

    def load(self) -> Recent:
        """See ScalingMemory."""
        return self._recent

    def save(self, recent: Recent) -> bool:
        """See ScalingMemory."""
        with self._lock:
            if self._recent.version != recent.version:
                return False
            self._recent = replace(recent, version=recent.version + 1)
            return True

    def may_wake(self, now: datetime, interval: timedelta) -> bool:
        """See ScalingMemory."""
        with self._lock:
            if self._woken_at is not None and self._woken_at > now - interval:
                return False
            self._woken_at = now
            return True

    def count_crash(self, now: datetime) -> None:
        """See ScalingMemory."""
        self._crashes.append(now)

    def crashes(self, now: datetime) -> int:
        """See ScalingMemory."""
        return sum(now - at < CRASH_WINDOW for at in self._crashes)
