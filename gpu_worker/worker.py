"""The worker's loop: while one job runs, the next waits in the engine and the last is stored.

    ticket ── claim ── ahead ──> running ──> finishing ── ended
                        └ in the engine ┘        └ off the GPU: outputs, terminal write, ticket

`Slots` says how many jobs may be where, `Lanes` where the next ticket comes from, and each job is
an `Attempt` that runs by itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from comfyline.service.errors import Unavailable
from comfyline.service.jobs.claim import Terms, claim
from comfyline.service.jobs.job import Job
from comfyline.service.metrics import Metric
from comfyline.service.queue.tickets import JobQueue, Ticket
from gpu_worker.interruption import Reason
from gpu_worker.lanes import LONG_POLL_SECONDS, Lanes
from gpu_worker.log_context import about
from gpu_worker.measures import Stage, timed
from gpu_worker.protection import Protection, keep_protected
from gpu_worker.run import Attempt, Toolbox
from gpu_worker.slots import Slot, Slots

# What is stored and written by then was worth the wait. It lies within the time that ECS grants,
# which lies within the two minutes of a spot notice.
DRAIN_SECONDS = 90.0

_log = logging.getLogger(__name__)


class DrainOverran(Exception):
    """A job would not let go; its lease will run out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """One GPU's worth of work."""

    queue: JobQueue
    terms: Terms
    tools: Toolbox
    long_poll_seconds: int = LONG_POLL_SECONDS
    protection: Protection | None = None  # None: nobody stops this worker but by a signal

    async def work(self, drain: asyncio.Event) -> None:
        """Run jobs until `drain` is set; then give back what is on the GPU, store what is not.

        Raises:
            DrainOverran: that took too long.
            EngineCrashLoop: no engine will stay up.
        """
        lanes, slots = Lanes(self.queue, long_poll_seconds=self.long_poll_seconds), Slots()
        attempts: set[asyncio.Task[None]] = set()
        guard = self._guard(slots)
        try:
            while (ticket := await _unless(drain, self._next_ticket(lanes, slots))) is not None:
                attempt = asyncio.create_task(self._handle(ticket, slots.enter(), drain))
                attempts.add(attempt)
                attempt.add_done_callback(attempts.discard)
        finally:
            drain.set()
            try:
                await _within(DRAIN_SECONDS, {*attempts, asyncio.create_task(lanes.close())})
            finally:
                if guard is not None:
                    guard.cancel()

    def _guard(self, slots: Slots) -> asyncio.Task[None] | None:
        if self.protection is None:
            return None
        return asyncio.create_task(keep_protected(self.protection, slots))

    async def _next_ticket(self, lanes: Lanes, slots: Slots) -> Ticket:
        await slots.room()
        while True:
            # A job taken while the engine is down would only be given back.
            await self.tools.engine.wait_ready()
            ticket = await lanes.take(slots.idle)
            if await self._can_run(ticket, lanes):
                return ticket

    async def _can_run(self, ticket: Ticket, lanes: Lanes) -> bool:
        """Whether the engine is still there: it may have ended during the long poll. Where it is
        not, or we are told to go before that is known, the ticket goes back.
        """
        is_ready = False
        try:
            is_ready = await self.tools.engine.is_ready()
        finally:
            if not is_ready:
                lanes.put_back(ticket)
        return is_ready

    async def _handle(self, ticket: Ticket, slot: Slot, drain: asyncio.Event) -> None:
        try:
            # Named as the functions name it, so that one query finds both.
            with about(job_id=ticket.job_id, xray_trace_id=ticket.trace_id):
                await self._claim_and_run(ticket, slot, drain)
        except Unavailable:  # the ticket comes back when its visibility ends
            _log.exception("not claimed", extra={"action": "claim_failed", "job_id": ticket.job_id})
        except Exception:  # noqa: BLE001 - a bug of ours costs this job a lease, never the worker
            _log.exception("attempt broke", extra={"action": "broke", "job_id": ticket.job_id})
        finally:
            slot.free()

    async def _claim_and_run(self, ticket: Ticket, slot: Slot, drain: asyncio.Event) -> None:
        with timed(self.tools.metrics, Stage.CLAIM):
            job = await asyncio.to_thread(self._claim, ticket)
        if job is not None:
            self.tools.metrics.record(Metric.JOBS_CLAIMED)
            with about(request_id=job.request_id):
                await self._run(Attempt(job, ticket, self.tools, slot.leave_engine), drain)

    def _claim(self, ticket: Ticket) -> Job | None:
        store, clock = self.tools.store, self.tools.clock
        return claim(ticket, self.terms, store=store, queue=self.queue, clock=clock)

    async def _run(self, attempt: Attempt, drain: asyncio.Event) -> None:
        watch = asyncio.create_task(_pass_on(drain, attempt))
        try:
            await attempt.run()
        finally:
            watch.cancel()


async def _pass_on(drain: asyncio.Event, attempt: Attempt) -> None:
    await drain.wait()
    attempt.stop.request(Reason.DRAIN)


async def _unless(drain: asyncio.Event, take: Coroutine[Any, Any, Ticket]) -> Ticket | None:
    """The ticket; None if `drain` came first and brought none."""
    taking, draining = asyncio.create_task(take), asyncio.create_task(drain.wait())
    try:
        await asyncio.wait({taking, draining}, return_when=asyncio.FIRST_COMPLETED)
        return taking.result() if taking.done() else None
    finally:
        taking.cancel()
        draining.cancel()


async def _within(seconds: float, tasks: set[asyncio.Task[None]]) -> None:
    _, late = await asyncio.wait(tasks, timeout=seconds)
    if late:
        raise DrainOverran(f"{len(late)} tasks are still at work after {seconds} s")
