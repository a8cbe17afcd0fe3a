"""The workers: how many run and should run, and which have reported that they are active."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from comfyline.service.fleet.capacity import Capacity, FleetSize, SpotHistory
from comfyline.service.texts import shorten

if TYPE_CHECKING:
    from comfyline.contract.ids import WorkerId
    from comfyline.service.fleet.scaling import Need


# Long enough to see several crashes of workers that crash after a boot of three minutes.
CRASH_WINDOW = timedelta(minutes=15)
MAX_REASON = 500  # characters of the reason why a worker takes no job


@dataclass(frozen=True, slots=True)
class Presence:
    """One report of a worker. The worker counts as active until the report expires.

    A longer reason is cut, because it may repeat the error of a node.
    """

    worker_id: WorkerId
    running_jobs: int  # on its GPU
    expires_at: datetime
    unhealthy: str | None = None  # why the worker takes no job; None if it does
    is_ready: bool = True  # False while it still fetches models, or starts its engine
    held_jobs: int = 0  # that it has claimed and that have not ended
    claimed_at: datetime | None = None  # when it last claimed a job for the job's first attempt
    waited: timedelta = timedelta(0)  # from the post of that job to its claim

    def __post_init__(self) -> None:
        shorten(self, unhealthy=MAX_REASON)

    @property
    def takes_jobs(self) -> bool:
        """Whether the worker is ready, and nothing keeps it from taking jobs."""
        return self.is_ready and self.unhealthy is None


class PresenceStore(Protocol):
    """Stores the last report of each worker, and the revisions that workers may have."""

    def put(self, presence: Presence) -> frozenset[str]:
        """Store the report in place of the worker's previous one.

        Returns the revisions that workers may have; none if they were never stored.
        """

    def want(self, revisions: frozenset[str]) -> None:
        """Store the revisions that workers may have from now on; there must be one."""

    def active(self, now: datetime) -> list[Presence]:
        """The reports that have not expired, one for each active worker; read consistently."""


class Fleet(Protocol):
    """The workers, as the platform that starts them (ECS) sees them."""

    def size(self) -> FleetSize | None:
        """The number of workers; None if the fleet is not deployed."""

    def resize(self, capacity: Capacity, workers: int) -> None:
        """Ask for that many workers. A worker with task protection finishes its job."""


@dataclass(frozen=True, slots=True)
class Recent:
    """What the scaler has saved. `version` is 0 before it has saved anything."""

    needs: tuple[Need, ...] = ()
    version: int = 0
    waiting_since: datetime | None = None  # since then, each round has seen a ticket that waits
    spot: SpotHistory = field(default_factory=SpotHistory)
    revisions: frozenset[str] = frozenset()  # that the scaler has announced last


class ScalingMemory(Protocol):
    """Stores what the scaler needs in its next round. Reads are consistent."""

    def load(self) -> Recent:
        """Read the value that was saved last."""

    def save(self, recent: Recent) -> bool:
        """Save `recent` with the next version, if the saved version is still that of `recent`.

        Returns False, and changes nothing, if another round of the scaler has saved since then.
        """

    def may_wake(self, now: datetime, interval: timedelta) -> bool:
        """Whether the scaler may be woken now: True for one caller in each interval."""

    def count_crash(self, now: datetime) -> None:
        """Count a worker that has crashed."""

    def crashes(self, now: datetime) -> int:
        """How many workers have crashed within about the last CRASH_WINDOW, up to twice of it."""
