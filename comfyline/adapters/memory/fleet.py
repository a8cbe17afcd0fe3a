"""The workers in memory. A test sets how many have started."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from threading import RLock

from comfyline.contract.ids import WorkerId
from comfyline.service.fleet.scaling import Need
from comfyline.service.fleet.workers import FleetSize, Presence, Recent


class InMemoryPresenceStore:
    """`PresenceStore` in memory."""

    def __init__(self) -> None:
        self._reports: dict[WorkerId, Presence] = {}

    def put(self, presence: Presence) -> None:
        """See PresenceStore."""
        self._reports[presence.worker_id] = presence

    def active(self, now: datetime) -> list[Presence]:
        """See PresenceStore."""
        return [report for report in list(self._reports.values()) if report.expires_at > now]


class InMemoryFleet:
    """`Fleet` in memory. `started` is the number of workers that run."""

    def __init__(self) -> None:
        self._desired = 0
        self.started = 0

    def size(self) -> FleetSize:
        """See Fleet."""
        return FleetSize(desired=self._desired, running=self.started)

    def resize(self, workers: int) -> None:
        """See Fleet."""
        self._desired = workers


class InMemoryScalingMemory:
    """`ScalingMemory` in memory."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._recent = Recent()
        self._woken_at: datetime | None = None

    def load(self) -> Recent:
        """See ScalingMemory."""
        return self._recent

    def save(self, needs: Sequence[Need], version: int) -> bool:
        """See ScalingMemory."""
        with self._lock:
            if self._recent.version != version:
                return False
            self._recent = Recent(tuple(needs), version + 1)
            return True

    def may_wake(self, now: datetime, interval: timedelta) -> bool:
        """See ScalingMemory."""
        with self._lock:
            if self._woken_at is not None and self._woken_at > now - interval:
                return False
            self._woken_at = now
            return True
