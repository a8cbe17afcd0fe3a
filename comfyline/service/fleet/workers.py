"""The workers: how many run and should run, and which have reported that they are active."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from comfyline.contract.ids import WorkerId
    from comfyline.service.fleet.scaling import Need


@dataclass(frozen=True, slots=True)
class Presence:
    """One report of a worker. The worker counts as active until the report expires."""

    worker_id: WorkerId
    running_jobs: int  # on its GPU
    expires_at: datetime
    unhealthy: str | None = None  # why the worker takes no job; None if it does


class PresenceStore(Protocol):
    """Stores the last report of each worker."""

    def put(self, presence: Presence) -> None:
        """Store the report in place of the worker's previous one."""

    def active(self, now: datetime) -> list[Presence]:
        """The reports that have not expired, one for each active worker; read consistently."""


@dataclass(frozen=True, slots=True)
class FleetSize:
    """How many workers the platform was asked for, and how many it runs."""

    desired: int
    running: int


class Fleet(Protocol):
    """The workers, as the platform that starts them (ECS) sees them."""

    def size(self) -> FleetSize:
        """The number of workers."""

    def resize(self, workers: int) -> None:
        """Ask for that many workers. A worker with task protection finishes its job."""


@dataclass(frozen=True, slots=True)
class Recent:
    """What the scaler has saved. `version` is 0 before it has saved anything."""

    needs: tuple[Need, ...] = ()
    version: int = 0


class ScalingMemory(Protocol):
    """Stores what the scaler needs in its next round. Reads are consistent."""

    def load(self) -> Recent:
        """Read the value that was saved last."""

    def save(self, needs: Sequence[Need], version: int) -> bool:
        """Replace the saved needs if they still have this version.

        Returns False, and changes nothing, if another round of the scaler has saved since then.
        """

    def may_wake(self, now: datetime, interval: timedelta) -> bool:
        """Whether the scaler may be woken now: True for one caller in each interval."""
