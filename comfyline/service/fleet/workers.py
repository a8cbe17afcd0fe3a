"""The workers: how many run and should run, and which have reported that they are active."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from comfyline.service.fleet.capacity import Capacity, FleetSize, SpotHistory
from comfyline.service.texts import shorten

if TYPE_CHECKING:
    from comfyline.contract.ids import JobId, OwnerId, WorkerId
    from comfyline.service.fleet.scaling import Need, ScalerView


# Long enough to see several crashes of workers that crash after a boot of three minutes.
CRASH_WINDOW = timedelta(minutes=15)
MAX_REASON = 500  # characters of the reason why a worker takes no job
MAX_FACT = 200  # characters of one fact of a worker
REPORTS_EVERY = timedelta(seconds=20)
REPORT_VALID = 3 * REPORTS_EVERY  # so one failed report changes nothing


class WorkerState(StrEnum):
    """What a worker does, in one word."""

    STARTING = "starting"  # it fetches models or starts its engine
    IDLE = "idle"
    RUNNING = "running"  # it holds at least one job
    UNHEALTHY = "unhealthy"  # it takes no job until its fault is over
    RETIRING = "retiring"  # it finishes what it holds, and ends


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerFacts:
    """What stays the same while a worker runs. A fact that the worker does not know is None."""

    engine_version: str | None = None  # changes whenever the image or the lock does
    image: str | None = None
    revision: str | None = None  # of the task definition
    gpu: str | None = None
    gpu_memory_bytes: int | None = None
    capacity: str | None = None  # how the instance is sold: ondemand or spot
    instance_id: str | None = None
    instance_type: str | None = None
    zone: str | None = None

    def __post_init__(self) -> None:
        names = [f.name for f in fields(self) if isinstance(getattr(self, f.name), str)]
        shorten(self, **dict.fromkeys(names, MAX_FACT))


@dataclass(frozen=True, slots=True)
class HeldJob:
    """A job that a worker has claimed and that has not ended."""

    id: JobId
    owner: OwnerId


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
    is_retiring: bool = False  # it claims no more, and ends after the jobs that it holds
    jobs: tuple[HeldJob, ...] = ()  # in the order of their claims
    checkpoint: str | None = None  # of the job that its GPU has or had last; None: not known
    facts: WorkerFacts = field(default_factory=WorkerFacts)

    def __post_init__(self) -> None:
        shorten(self, unhealthy=MAX_REASON, checkpoint=MAX_FACT)

    @property
    def takes_jobs(self) -> bool:
        """Whether the worker is ready, and nothing keeps it from taking jobs."""
        return self.is_ready and self.unhealthy is None

    @property
    def reported_at(self) -> datetime:
        """When the worker made this report, unless it was its last one."""
        return self.expires_at - REPORT_VALID

    @property
    def state(self) -> WorkerState:
        """What the worker does. A fault or a retirement is told before the jobs that it holds."""
        if self.is_retiring:
            return WorkerState.RETIRING
        if self.unhealthy is not None:
            return WorkerState.UNHEALTHY
        if self.held_jobs:
            return WorkerState.RUNNING
        return WorkerState.IDLE if self.is_ready else WorkerState.STARTING


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
    view: ScalerView | None = None  # what the last round has seen and asked for


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
