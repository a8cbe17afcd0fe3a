"""Bring the next ticket from the three lanes.

An idle worker long-polls all lanes at once. A busy worker only wants a job to queue ahead, so it
makes short polls, one lane after the other by weight. A new ticket goes to an open long poll at
once, before a short poll can find it; so no job waits behind a running one while another GPU is
idle.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from typing import Any

from comfyline.service.errors import Unavailable
from comfyline.service.queue.lanes import Priority
from comfyline.service.queue.tickets import JobQueue, Ticket
from gpu_worker.racing import first_of

LONG_POLL_SECONDS = 5  # a shutdown waits at most this long for open polls
# Between the short polls of a busy worker, because each is a billed SQS request. The pause doubles
# while the lanes are empty. A job that comes during a pause costs the GPU no more than its claim.
SHORT_POLL_SECONDS, MAX_SHORT_POLL_SECONDS = 2.0, 16.0
RETRY_SECONDS = 1.0  # between polls of a queue that cannot be reached

# Which lane comes first, poll by poll, if several have tickets: high before normal before low, and
# low is never starved.
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
    """Takes one ticket at a time. A poll that brings more than was wanted puts the rest back."""

    def __init__(self, queue: JobQueue, *, long_poll_seconds: int = LONG_POLL_SECONDS) -> None:
        self._queue = queue
        self._long_poll_seconds = long_poll_seconds
        self._polls: dict[Priority, asyncio.Task[list[Ticket]]] = {}  # the open long polls
        self._turns = itertools.cycle(_TURNS)
        self._wants_ticket = False  # a long poll that ends now may keep its ticket
        self._put_backs: set[asyncio.Task[None]] = set()  # keeps the tasks alive until they end

    async def take(self, idle: asyncio.Event) -> Ticket:
        """The next ticket; waits as long as that takes. `idle`: the GPU has nothing to do."""
        pauses = short_poll_pauses()
        while True:
            ticket = await (self._long_poll() if idle.is_set() else self._short_poll())
            if ticket is not None:
                return ticket
            if not idle.is_set():
                await first_of(idle.wait(), timeout=next(pauses))

    def put_back(self, ticket: Ticket) -> None:
        """Make a ticket that was taken visible to other workers again."""
        self._in_background(self._hand_back([ticket]))

    async def close(self) -> None:
        """Wait for the open long polls, and put back the tickets that they bring."""
        for poll in self._polls.values():
            self._in_background(self._hand_back_result(poll))
        await asyncio.gather(*self._put_backs)

    async def _long_poll(self) -> Ticket | None:
        self._wants_ticket = True
        try:
            tickets = await self._poll_all()
        finally:
            self._wants_ticket = False
        return self._choose(tickets) if tickets else None

    async def _poll_all(self) -> list[Ticket]:
        for priority in Priority:
            if priority not in self._polls:
                self._polls[priority] = asyncio.create_task(self._poll(priority))
        await asyncio.wait(self._polls.values(), return_when=asyncio.FIRST_COMPLETED)
        done = [priority for priority, poll in self._polls.items() if poll.done()]
        return [ticket for priority in done for ticket in self._polls.pop(priority).result()]

    async def _poll(self, priority: Priority) -> list[Ticket]:
        tickets = await self._receive(priority, wait_seconds=self._long_poll_seconds)
        if self._wants_ticket:
            return tickets
        await self._hand_back(tickets)
        return []

    async def _short_poll(self) -> Ticket | None:
        for priority in _order(next(self._turns)):
            polling = asyncio.create_task(self._receive(priority, wait_seconds=0))
            try:
                tickets = await asyncio.shield(polling)
            except asyncio.CancelledError:
                self._in_background(self._hand_back_result(polling))
                raise
            if tickets:
                return tickets[0]
        return None

    async def _receive(self, priority: Priority, *, wait_seconds: int) -> list[Ticket]:
        try:
            return await asyncio.to_thread(self._queue.receive, priority, wait_seconds=wait_seconds)
        except Unavailable:
            _log.warning("lane not reachable", extra={"action": "poll_failed", "lane": priority})
            await asyncio.sleep(RETRY_SECONDS)
            return []

    def _choose(self, tickets: list[Ticket]) -> Ticket:
        order = _order(next(self._turns))
        tickets.sort(key=lambda ticket: order.index(ticket.priority))
        self._in_background(self._hand_back(tickets[1:]))
        return tickets[0]

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._put_backs.add(task)
        task.add_done_callback(self._put_backs.discard)

    async def _hand_back_result(self, poll: asyncio.Task[list[Ticket]]) -> None:
        await self._hand_back(await poll)

    async def _hand_back(self, tickets: list[Ticket]) -> None:
        for ticket in tickets:
            with suppress(Unavailable):  # the ticket reappears when its visibility timeout ends
                await asyncio.to_thread(self._queue.hide, ticket, 0)


def short_poll_pauses() -> Iterator[float]:
    """Seconds from each short poll that finds nothing to the next."""
    pause = SHORT_POLL_SECONDS
    while True:
        yield pause
        pause = min(2 * pause, MAX_SHORT_POLL_SECONDS)


def _order(first: Priority) -> list[Priority]:
    return [first, *(priority for priority in Priority if priority is not first)]
