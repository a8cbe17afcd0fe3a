"""The worker's loop: wait for the engine, take a ticket, claim its job, run it; then the next."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from comfyline.domain.errors import Unavailable
from comfyline.domain.job import Job
from comfyline.ports import JobQueue, Ticket
from comfyline.usecases.claim import Terms, claim
from gpu_worker.interruption import Reason
from gpu_worker.lanes import Lanes
from gpu_worker.run import Attempt, Toolbox

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """One GPU's worth of work."""

    queue: JobQueue
    terms: Terms
    tools: Toolbox

    async def work(self, drain: asyncio.Event) -> None:
        """Run jobs until `drain` is set; then give back what still runs, and return."""
        lanes = Lanes(self.queue)
        while not drain.is_set():
            ticket = await _unless(drain, self._next_ticket(lanes))
            if ticket is not None:
                await self._handle(ticket, drain)
        await lanes.close()

    async def _next_ticket(self, lanes: Lanes) -> Ticket:
        # A job taken while the engine is down would only be given back.
        await self.tools.engine.wait_ready()
        return await lanes.take()

    async def _handle(self, ticket: Ticket, drain: asyncio.Event) -> None:
        try:
            job = await asyncio.to_thread(self._claim, ticket)
        except Unavailable:
            _log.exception("not claimed", extra={"action": "claim_failed", "job_id": ticket.job_id})
            return  # the ticket comes back when its visibility ends
        if job is not None:
            await self._run(Attempt(job, ticket, self.tools), drain)

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
