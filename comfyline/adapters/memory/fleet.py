"""The workers in memory. A test says how many have started."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from threading import RLock

from comfyline.contract.ids import WorkerId
from comfyline.service.fleet.scaling import Need
from comfyline.service.fleet.workers import FleetSize, Presence, Recent


class InMemoryAttendance:
    """`Attendance` in memory."""

    def __init__(self) -> None:
        self._said: dict[WorkerId, Presence] = {}

    def note(self, presence: Presence) -> None:
        """See Attendance."""
        self._said[presence.worker_id] = presence

    def present(self, now: datetime) -> list[Presence]:
        """See Attendance."""
        return [presence for presence in list(self._said.values()) if presence.until > now]


class InMemoryFleet:
    """`Fleet` in memory; `started` says how many of the desired workers are up."""

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
