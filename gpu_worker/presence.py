"""Report the state of this worker, and learn whether it should retire.

A report is valid for three rounds. So one failed report changes nothing, and a worker that dies
without notice is not counted any more after a minute. The scaler and the metrics read these
reports; no job depends on them.

The answer to a report lists the revisions of the task definition that workers may have. If a
deployment has removed this worker's revision from the list, the worker retires: it finishes its
jobs, claims no more and ends, and ECS starts a worker of the new revision. Otherwise a busy worker
would never be replaced, because its task is protected.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime, timedelta

from comfyline.contract.ids import WorkerId
from comfyline.service.clock import Clock
from comfyline.service.fleet.workers import (
    REPORT_VALID,
    REPORTS_EVERY,
    HeldJob,
    Presence,
    PresenceStore,
    WorkerFacts,
)
from comfyline.service.graphs.checkpoint import checkpoint_of
from comfyline.service.jobs.job import Job
from comfyline.service.jobs.store import Work
from gpu_worker.occupancy import Occupancy
from gpu_worker.racing import background

ROUNDS = REPORT_VALID // REPORTS_EVERY  # one report is valid for this many rounds
# Longer than a minute, because a worker may start before the scaler, which runs once a minute, has
# stored the new revision.
RETIRE_AFTER = 4

_log = logging.getLogger(__name__)


class Activity:
    """What this worker does, as its reports say it. Any thread may read it."""

    def __init__(
        self,
        running: Callable[[], int] = lambda: 0,
        unhealthy: Callable[[], str | None] = lambda: None,
    ) -> None:
        """`unhealthy`: why the worker takes no job; None if it does."""
        self.is_ready = False  # whether it has prepared itself, and does not retire
        self.facts = WorkerFacts()
        self._running, self._unhealthy = running, unhealthy
        self._is_retiring = False
        self._held: list[tuple[HeldJob, str | None]] = []  # with the checkpoint of each
        self._checkpoint: str | None = None  # of the job that left last
        self._occupancy: Occupancy | None = None
        self._claimed_at: datetime | None = None
        self._waited = timedelta(0)

    def begin(self, occupancy: Occupancy) -> None:
        """The worker takes jobs from now on, and counts them there."""
        self.is_ready, self._occupancy = True, occupancy

    def retire(self) -> None:
        """The worker claims no more jobs, and ends after those that it holds."""
        self.is_ready, self._is_retiring = False, True

    @contextmanager
    def holding(self, work: Work) -> Iterator[None]:
        """The worker holds the job during the block."""
        graph, job = work.graph, work.job
        held = HeldJob(job.id, job.owner), checkpoint_of(graph) if graph else None
        self._held = [*self._held, held]  # a new list, because a report reads it in a thread
        try:
            yield
        finally:
            self._held = [each for each in self._held if each is not held]
            self._checkpoint = held[1] or self._checkpoint

    def claimed(self, job: Job, now: datetime) -> None:
        """Note a claim. Only the claim of a first attempt shows how long jobs wait."""
        if job.attempt == 1:
            self._claimed_at, self._waited = now, max(now - job.queued_at, timedelta(0))

    def report(self, worker_id: WorkerId, expires_at: datetime) -> Presence:
        """The report of this moment."""
        held = self._held
        loaded = [checkpoint for _, checkpoint in held[:1] if checkpoint]
        return Presence(
            worker_id,
            self._running(),
            expires_at,
            self._unhealthy(),
            is_ready=self.is_ready,
            held_jobs=self._occupancy.held if self._occupancy else 0,
            claimed_at=self._claimed_at,
            waited=self._waited,
            is_retiring=self._is_retiring,
            jobs=tuple(job for job, _ in held),
            checkpoint=loaded[0] if loaded else self._checkpoint,
            facts=self.facts,
        )


@asynccontextmanager
async def reported_presence(
    store: PresenceStore,
    worker_id: WorkerId,
    activity: Activity,
    clock: Clock,
    every: timedelta = REPORTS_EVERY,
    *,
    revision: str | None = None,
    retire: asyncio.Event | None = None,
) -> AsyncIterator[None]:
    """Report the worker as up until the block ends, and as gone right after it.

    The first report is made before the block begins, so that the clock is compared with AWS before
    the first job. `retire` is set when workers should no longer have `revision`, which is this
    worker's. None: nothing can replace this worker.
    """
    unwanted = 0  # consecutive answers without this worker's revision

    async def report(holds: timedelta) -> None:
        nonlocal unwanted
        try:
            presence = activity.report(worker_id, clock() + holds)
            wanted = await asyncio.to_thread(store.put, presence)
        except Exception:  # noqa: BLE001 - no job depends on it, so no error may end the worker
            extra = {"action": "presence_missed"}
            _log.warning("presence not reported", exc_info=True, extra=extra)
            return
        unwanted = unwanted + 1 if wanted and revision and revision not in wanted else 0
        if retire is not None and unwanted == RETIRE_AFTER:
            _log.info("another revision is wanted", extra={"action": "worker_retires"})
            retire.set()

    async def report_for_ever() -> None:
        while True:
            await asyncio.sleep(every.total_seconds())
            await report(ROUNDS * every)

    try:
        await report(ROUNDS * every)
        async with background(report_for_ever()):
            yield
    finally:
        await report(timedelta(0))
