"""The worker's loop: while one job runs, the next waits behind it and the last is stored.

    ticket ── claim ── ahead ──> running ──> finishing ── ended
                        └ turnstile, engine ┘    └ off the GPU: files, terminal write, ticket

`Occupancy` limits how many jobs there are at each point, `Lanes` brings the next ticket, and each
job is an `Attempt` in its own task.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from comfyline.service.errors import Unavailable, Unreadable
from comfyline.service.jobs.claim import NOT_YET_SECONDS, Terms, claim
from comfyline.service.jobs.store import Work
from comfyline.service.metrics import Metric
from comfyline.service.queue.tickets import JobQueue, Ticket
from gpu_worker.attempt import Attempt
from gpu_worker.comfy.keeper import RECYCLED
from gpu_worker.lanes import LONG_POLL_SECONDS, Lanes
from gpu_worker.log_context import log_with
from gpu_worker.machine_faults import FaultKind, kind_of_end
from gpu_worker.models.loading import Loading
from gpu_worker.occupancy import Occupancy, Place
from gpu_worker.phases import Phase, timed
from gpu_worker.presence import Activity
from gpu_worker.protection import Protection, keep_protected
from gpu_worker.racing import background, unless
from gpu_worker.stop import StopReason
from gpu_worker.toolbox import Toolbox

# For so long a draining worker stores files and writes endings. It is less than the time that ECS
# grants between SIGTERM and SIGKILL, which is less than the two minutes of a spot notice.
DRAIN_SECONDS = 90.0
READY_SECONDS = 1.0  # between two checks of a disk or a clock that allows no job

_log = logging.getLogger(__name__)


class DrainOverran(Exception):
    """A job did not end in time while the worker drained; its lease will expire."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """Claims and runs jobs for one GPU."""

    queue: JobQueue
    terms: Terms
    tools: Toolbox
    long_poll_seconds: int = LONG_POLL_SECONDS
    protection: Protection | None = None  # None: only a signal or a spot notice stops this worker
    clock_fault: Callable[[], str | None] = lambda: None
    loading: Loading | None = None  # None: all models are there
    activity: Activity = field(default_factory=Activity)  # what this worker's reports say

    async def work(self, drain: asyncio.Event, retire: asyncio.Event | None = None) -> None:
        """Run jobs until `drain` is set; then give back jobs on the GPU, and finish the others.

        If `retire` is set, claim no more jobs, and end when those that the worker holds have ended.

        Raises:
            DrainOverran: giving back and finishing took too long.
            EngineCrashLoop: the engine does not stay up.
            WorkerUnhealthy: the worker has been out of service for too long.
        """
        await self.tools.files.prepare()
        lanes = Lanes(self.queue, long_poll_seconds=self.long_poll_seconds)
        occupancy, retire = Occupancy(), retire or asyncio.Event()
        attempts: set[asyncio.Task[None]] = set()
        async with AsyncExitStack() as stack:
            if self.protection is not None:
                keeping = keep_protected(self.protection, occupancy)
                await stack.enter_async_context(background(keeping))
            if self.tools.thumbnails is not None:
                making = self.tools.thumbnails.make_for_ever()
                await stack.enter_async_context(background(making))
            await stack.enter_async_context(self._watched_engine())
            self.activity.begin(occupancy)
            try:
                while ticket := await unless(
                    drain, unless(retire, self._next_ticket(lanes, occupancy))
                ):
                    attempt = asyncio.create_task(self._handle(ticket, occupancy.enter(), drain))
                    attempts.add(attempt)
                    attempt.add_done_callback(attempts.discard)
                self.activity.retire()
                if attempts:
                    await unless(drain, asyncio.wait({*attempts}))  # a copy: ended ones leave it
            finally:
                drain.set()
                await _within(DRAIN_SECONDS, {*attempts, asyncio.create_task(lanes.close())})

    @asynccontextmanager
    async def _watched_engine(self) -> AsyncIterator[None]:
        """The worker is probed each time its engine ends, unless that was planned.

        If a prompt ran at the time, its attempt begins the probe, because its files go first.
        """
        engine, health = self.tools.engine, self.tools.health

        def probe_after_end(had_prompt: bool) -> None:
            if engine.end_reason != RECYCLED and not had_prompt:
                health.suspect(kind_of_end(engine.end_reason), restart=False)

        engine.on_end = probe_after_end
        try:
            yield
        finally:
            engine.on_end = _do_nothing
            await health.close()

    async def _next_ticket(self, lanes: Lanes, occupancy: Occupancy) -> Ticket:
        await occupancy.room()
        while True:
            # A job that is claimed while the worker cannot run it would only be given back.
            await self._wait_ready(occupancy)
            ticket = await lanes.take(occupancy.idle)
            if await self._is_ready_for(ticket, lanes):
                return ticket

    async def _wait_ready(self, occupancy: Occupancy) -> None:
        """Return once clock, disk, health and engine allow another job."""
        await self._wait_clock()
        while await self._is_disk_low():
            if not occupancy.occupied.is_set():
                self.tools.health.suspect(FaultKind.OUT_OF_DISK)  # no job is to blame
            await asyncio.sleep(READY_SECONDS)
            await self.tools.health.wait()
        await self.tools.health.wait()
        await self.tools.engine.wait_ready()

    async def _wait_clock(self) -> None:
        since = time.monotonic()
        while (fault := self.clock_fault()) is not None:
            self.tools.health.require_end(since, fault)
            await asyncio.sleep(READY_SECONDS)

    async def _is_ready_for(self, ticket: Ticket, lanes: Lanes) -> bool:
        """Whether the worker can still run a job: much may happen during the long poll.

        The ticket is put back if it cannot, or if the worker drains before that is known.
        """
        is_ready = False
        try:
            is_ready = self.clock_fault() is None and not await self._is_disk_low()
            is_ready = (
                is_ready and self.tools.health.allows_jobs and await self.tools.engine.is_ready()
            )
        finally:
            if not is_ready:
                lanes.put_back(ticket)
        return is_ready

    async def _is_disk_low(self) -> bool:
        return await asyncio.to_thread(self.tools.disk.is_low)

    async def _handle(self, ticket: Ticket, place: Place, drain: asyncio.Event) -> None:
        try:
            # The functions log the same keys, so one query finds the lines of both.
            log_with(job_id=ticket.job_id, xray_trace_id=ticket.trace_id)
            await self._claim_and_run(ticket, place, drain)
        except Unavailable:  # SQS delivers the ticket again when its visibility timeout ends
            _log.exception("not claimed", extra={"action": "claim_failed", "job_id": ticket.job_id})
        except Exception:  # noqa: BLE001 - a bug costs this job a lease, but must not end the worker
            _log.exception("attempt broke", extra={"action": "broke", "job_id": ticket.job_id})
        finally:
            place.free()

    async def _claim_and_run(self, ticket: Ticket, place: Place, drain: asyncio.Event) -> None:
        with timed(self.tools.metrics, Phase.CLAIM):
            turned_away: list[Work] = []
            work = await asyncio.to_thread(self._claim, ticket, await self._gate(turned_away))
        if work is None:
            if turned_away and self.loading is not None:
                # So slowly that other workers find most tickets of such jobs.
                await unless(drain, self.loading.news(NOT_YET_SECONDS))
            return
        job = work.job
        self.tools.metrics.record(Metric.JOBS_CLAIMED)
        self.activity.claimed(job, self.tools.clock())
        attempt = Attempt(work, ticket, self.tools, place)
        log_with(request_id=job.request_id)
        with self.activity.holding(work):
            async with background(_stop_on(drain, attempt)):
                await attempt.run()

    async def _gate(self, turned_away: list[Work]) -> Callable[[Work], bool]:
        """Whether a job's models are there; the others are added to `turned_away`."""
        loading = self.loading
        if loading is None or not loading.is_under_way:
            return lambda _work: True
        nodes = await self.tools.engine.nodes.get()

        def may_run(work: Work) -> bool:
            is_lacking = work.graph is not None and loading.lacks(work.graph, nodes)
            if is_lacking:
                extra = {"action": "models_lacking", "job_id": work.job.id}
                _log.info("job's models are not there yet", extra=extra)
                turned_away.append(work)
            return not is_lacking

        return may_run

    def _claim(self, ticket: Ticket, may_run: Callable[[Work], bool]) -> Work | None:
        store, clock = self.tools.store, self.tools.clock
        try:
            return claim(
                ticket, self.terms, store=store, queue=self.queue, clock=clock, may_run=may_run
            )
        except Unreadable as error:  # the sweeper sets the row aside; until then no ticket can help
            extra = {"action": "row_unreadable", "job_id": ticket.job_id, "reason": str(error)}
            _log.error("row unreadable, ticket deleted", extra=extra)
            self.tools.metrics.record(Metric.ITEMS_UNREADABLE)
            self.queue.delete(ticket)
            return None


def _do_nothing(_had_prompt: bool) -> None:
    """The worker is ending, so the end of its engine needs no probe."""


async def _stop_on(drain: asyncio.Event, attempt: Attempt) -> None:
    await drain.wait()
    attempt.stop.request(StopReason.DRAIN)


async def _within(seconds: float, tasks: set[asyncio.Task[None]]) -> None:
    _, late = await asyncio.wait(tasks, timeout=seconds)
    if late:
        raise DrainOverran(f"{len(late)} tasks are still at work after {seconds} s")
