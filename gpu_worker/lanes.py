"""Where the next ticket comes from: three lanes.

An idle worker waits in long polls on all of them at once. A busy one, which only wants a job to
queue ahead, takes short looks by weight: whoever waits in a long poll always wins, so that no job
waits behind a running one while another GPU is idle.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from typing import Any

from comfyline.service.errors import Unavailable
from comfyline.service.jobs.job import Priority
from comfyline.service.queue.tickets import JobQueue, Ticket

LONG_POLL_SECONDS = 5  # bounds how long a shutdown waits for open polls
# Between the looks of a busy worker; each look is paid for. Where the last found nothing, nobody
# waits, and a job that comes later costs the GPU no more than its claim.
LOOK_SECONDS, MAX_LOOK_SECONDS = 2.0, 16.0
RETRY_SECONDS = 1.0  # between polls of a queue that is out of reach

# Whose turn it is where several lanes have work: high before normal before low, low never starved.
_TURNS = (
    Priority.HIGH,
    Priority.HIGH,
    Priority.NORMAL,
    Priority.HIGH,
    Priority.HIGH,
    Priority.NORMAL,
    Priority.LOW,
)

_log = logging.getLogger(__name__)


class Lanes:
    """Takes one ticket at a time; what comes while nobody wants it is put back at once."""

    def __init__(self, queue: JobQueue, *, long_poll_seconds: int = LONG_POLL_SECONDS) -> None:
        self._queue = queue
        self._long_poll_seconds = long_poll_seconds
        self._polls: dict[Priority, asyncio.Task[list[Ticket]]] = {}
        self._turns = itertools.cycle(_TURNS)
        self._waits = False
        self._late: set[asyncio.Task[None]] = set()  # what is being put back

    async def take(self, idle: asyncio.Event) -> Ticket:
        """The next ticket; waits for one as long as it takes. `idle`: the GPU has nothing to do."""
        pauses = look_pauses()
        while True:
            ticket = await (self._wait() if idle.is_set() else self._look())
            if ticket is not None:
                return ticket
            if not idle.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(idle.wait(), next(pauses))

    async def _wait(self) -> Ticket | None:
        self._waits = True
        try:
            tickets = await self._poll_all()
        finally:
            self._waits = False  # what a poll brings from now on is too much
        return self._choose(tickets) if tickets else None

    async def _look(self) -> Ticket | None:
        for priority in _order(next(self._turns)):
            looking = asyncio.create_task(self._receive(priority, wait_seconds=0))
            try:
                tickets = await asyncio.shield(looking)
            except asyncio.CancelledError:
                self._later(self._return(looking))
                raise
            if tickets:
                return tickets[0]
        return None

    def put_back(self, ticket: Ticket) -> None:
        """Leave a ticket that was taken to whoever comes next."""
        self._later(self._return_all([ticket]))

    async def close(self) -> None:
        """Let open polls return and put back what they bring."""
        for poll in self._polls.values():
            self._later(self._return(poll))
        await asyncio.gather(*self._late)

    async def _poll_all(self) -> list[Ticket]:
        for priority in Priority:
            if priority not in self._polls:
                self._polls[priority] = asyncio.create_task(self._poll(priority))
        await asyncio.wait(self._polls.values(), return_when=asyncio.FIRST_COMPLETED)
        done = [priority for priority, poll in self._polls.items() if poll.done()]
        return [ticket for priority in done for ticket in self._polls.pop(priority).result()]

    async def _poll(self, priority: Priority) -> list[Ticket]:
        tickets = await self._receive(priority, wait_seconds=self._long_poll_seconds)
        if self._waits:
            return tickets
        await self._return_all(tickets)
        return []

    async def _receive(self, priority: Priority, *, wait_seconds: int) -> list[Ticket]:
        try:
            return await asyncio.to_thread(self._queue.receive, priority, wait_seconds=wait_seconds)
        except Unavailable:
            _log.warning("lane out of reach", extra={"action": "poll_failed", "lane": priority})
            await asyncio.sleep(RETRY_SECONDS)
            return []

    def _choose(self, tickets: list[Ticket]) -> Ticket:
        order = _order(next(self._turns))
        tickets.sort(key=lambda ticket: order.index(ticket.priority))
        self._later(self._return_all(tickets[1:]))
        return tickets[0]

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def _return(self, poll: asyncio.Task[list[Ticket]]) -> None:
        await self._return_all(await poll)

    async def _return_all(self, tickets: list[Ticket]) -> None:
        for ticket in tickets:
            with suppress(Unavailable):  # it comes back by itself when its visibility ends
                await asyncio.to_thread(self._queue.hide, ticket, 0)


def look_pauses() -> Iterator[float]:
    """Seconds from each look that finds nothing to the next; they double."""
    pause = LOOK_SECONDS
    while True:
        yield pause
        pause = min(2 * pause, MAX_LOOK_SECONDS)


def _order(turn: Priority) -> list[Priority]:
    return [turn, *(priority for priority in Priority if priority is not turn)]
