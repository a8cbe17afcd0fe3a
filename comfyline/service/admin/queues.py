"""The queues as an operator sees them: what waits, since when, and what the scaler does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from comfyline.service.clock import Clock
from comfyline.service.fleet.scaling import ScalerView
from comfyline.service.fleet.workers import ScalingMemory
from comfyline.service.jobs.job import Job, Status
from comfyline.service.jobs.store import JobStore
from comfyline.service.queue.lanes import Priority
from comfyline.service.queue.tickets import Backlog, Depths, JobQueue

# Each look reads the rows of so many jobs: at most some 500 read units of DynamoDB.
LOOKED_AT = 1_000


@dataclass(frozen=True, slots=True)
class Lane:
    """The tickets of a lane, and since when the oldest job without a worker waits in it."""

    depths: Depths
    oldest: datetime | None


@dataclass(frozen=True, slots=True)
class Queues:
    """All queues at one moment. Counts of tickets may be some seconds old."""

    at: datetime
    lanes: Mapping[Priority, Lane]
    knows_oldest: bool  # False: so many jobs live that an older one may be missed
    dead_letters: Depths  # in flight are those that the service tries again
    parked: Depths  # settlements; likewise
    scaler: ScalerView | None  # None: it has done nothing yet, or there is none


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueReader:
    """Reads all queues."""

    queue: JobQueue
    store: JobStore
    dead_letters: Backlog
    parked: Backlog
    scaling: ScalingMemory | None  # None: this deployment has no scaler
    clock: Clock

    def read(self) -> Queues:
        """Read them now."""
        now = self.clock()
        live, is_all = self.store.live_last_due(LOOKED_AT)
        return Queues(
            at=now,
            lanes={lane: Lane(self._depths(lane), oldest(live, lane, now)) for lane in Priority},
            knows_oldest=is_all,
            dead_letters=self.dead_letters.depths(),
            parked=self.parked.depths(),
            scaler=self.scaling.load().view if self.scaling is not None else None,
        )

    def _depths(self, lane: Priority) -> Depths:
        return Depths(self.queue.depth(lane), self.queue.in_flight(lane))


def oldest(jobs: list[Job], lane: Priority, now: datetime) -> datetime | None:
    """Since when the one of the jobs waits that has waited longest in the lane; None if none does.

    A job that was given back waits since then.
    """
    waiting = (
        job.changed_at
        for job in jobs
        if job.priority is lane and job.status is Status.QUEUED and not job.has_live_lease(now)
    )
    return min(waiting, default=None)
