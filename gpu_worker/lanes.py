"""Where the next ticket comes from: three lanes, polled at once."""

from __future__ import annotations

import asyncio
import itertools
import logging
from contextlib import suppress

from comfyline.domain.errors import Unavailable
from comfyline.domain.job import Priority
from comfyline.ports import JobQueue, Ticket

LONG_POLL_SECONDS = 5  # bounds how long a shutdown waits for open polls
RETRY_SECONDS = 1.0  # between polls of a queue that is out of reach

# Whose turn it is when several lanes have work: high before normal before low, low never starved.
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
    """Long polls on every lane; what comes while nobody wants it is put back at once."""

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue
        self._polls: dict[Priority, asyncio.Task[list[Ticket]]] = {}
        self._turns = itertools.cycle(_TURNS)
        self._wanted = False

    async def take(self) -> Ticket:
        """The next ticket; waits for one as long as it takes."""
        self._wanted = True
        try:
            while True:
                tickets = await self._poll_all()
                if tickets:
                    self._wanted = False  # what a poll brings from now on is too much
                    return await self._choose(tickets)
        finally:
            self._wanted = False

    async def close(self) -> None:
        """Let open polls return and put back what they bring."""
        self._wanted = False
        for brought in await asyncio.gather(*self._polls.values()):
            await self._put_back(brought)

    async def _poll_all(self) -> list[Ticket]:
        for priority in Priority:
            if priority not in self._polls:
                self._polls[priority] = asyncio.create_task(self._poll(priority))
        await asyncio.wait(self._polls.values(), return_when=asyncio.FIRST_COMPLETED)
        done = [priority for priority, poll in self._polls.items() if poll.done()]
        return [ticket for priority in done for ticket in self._polls.pop(priority).result()]

    async def _poll(self, priority: Priority) -> list[Ticket]:
        try:
            tickets = await asyncio.to_thread(
                self._queue.receive, priority, wait_seconds=LONG_POLL_SECONDS
            )
        except Unavailable:
            _log.warning("lane out of reach", extra={"action": "poll_failed", "lane": priority})
            await asyncio.sleep(RETRY_SECONDS)
            return []
        if self._wanted:
            return tickets
        await self._put_back(tickets)
        return []

    async def _choose(self, tickets: list[Ticket]) -> Ticket:
        turn = next(self._turns)
        order = list(Priority)
        tickets.sort(key=lambda t: (t.priority is not turn, order.index(t.priority)))
        await self._put_back(tickets[1:])
        return tickets[0]

    async def _put_back(self, tickets: list[Ticket]) -> None:
        for ticket in tickets:
            with suppress(Unavailable):  # it comes back by itself when its visibility ends
                await asyncio.to_thread(self._queue.hide, ticket, 0)
