"""Lanes in memory. A ticket is hidden in the clock's time, but `receive` waits in real time."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Condition

from comfyline.contract.ids import JobId, OwnerId
from comfyline.service.clock import Clock
from comfyline.service.queue.lanes import Priority
from comfyline.service.queue.tickets import DeadLetter, Depths, Ticket


@dataclass(slots=True)
class _Message:
    job_id: JobId
    owner: OwnerId
    visible_at: datetime
    sent_at: datetime
    receipt: str = ""  # of the last delivery


class InMemoryJobQueue:
    """`JobQueue` and `Backlog` in memory. Each lane delivers its oldest ticket first."""

    def __init__(self, clock: Clock, *, visibility: timedelta = timedelta(seconds=120)) -> None:
        self._clock = clock
        self._visibility = visibility
        self._changed = Condition()
        self._lanes: dict[Priority, list[_Message]] = {lane: [] for lane in Priority}
        self._times_ended = 0  # how often `end_polls` was called

    def send(self, job_id: JobId, owner: OwnerId, priority: Priority) -> None:
        """See JobQueue. This queue is not fair between owners."""
        with self._changed:
            self._lanes[priority].append(_Message(job_id, owner, self._clock(), self._clock()))
            self._changed.notify_all()

    def send_many(self, jobs: Sequence[tuple[JobId, OwnerId]], priority: Priority) -> None:
        """See JobQueue."""
        for job_id, owner in jobs:
            self.send(job_id, owner, priority)

    def depth(self, priority: Priority) -> int:
        """See JobQueue."""
        return self._depths([priority]).waiting

    def in_flight(self, priority: Priority) -> int:
        """See JobQueue."""
        return self._depths([priority]).in_flight

    def receive(self, priority: Priority, *, wait_seconds: int, limit: int = 1) -> list[Ticket]:
        """See JobQueue. It waits in real time."""
        give_up_at = time.monotonic() + wait_seconds
        with self._changed:
            times_ended = self._times_ended
            while not (tickets := self._delivered(priority, limit)):
                left = give_up_at - time.monotonic()
                if left <= 0 or self._times_ended > times_ended:
                    break
                self._changed.wait(min(left, self._seconds_until_visible(priority)))
        return tickets

    def end_polls(self) -> None:
        """Let each open long poll return now, as at the end of its time."""
        with self._changed:
            self._times_ended += 1
            self._changed.notify_all()

    def _delivered(self, priority: Priority, limit: int) -> list[Ticket]:
        now = self._clock()
        visible = [message for message in self._lanes[priority] if message.visible_at <= now]
        for message in visible[:limit]:
            message.visible_at = now + self._visibility
            message.receipt = secrets.token_hex(8)
        return [Ticket(m.job_id, priority, m.receipt) for m in visible[:limit]]

    def depths(self) -> Depths:
        """See Backlog. The figures are exact."""
        return self._depths(Priority)

    def _depths(self, lanes: Iterable[Priority]) -> Depths:
        now = self._clock()
        with self._changed:
            times = [message.visible_at for lane in lanes for message in self._lanes[lane]]
        in_flight = sum(time > now for time in times)
        return Depths(waiting=len(times) - in_flight, in_flight=in_flight)

    def _seconds_until_visible(self, priority: Priority) -> float:
        now = self._clock()
        times = [(m.visible_at - now).total_seconds() for m in self._lanes[priority]]
        return max(min(times, default=60.0), 0.001)

    def hide(self, ticket: Ticket, seconds: int) -> None:
        """See JobQueue."""
        with self._changed:
            for message in self._lanes[ticket.priority]:
                if message.receipt == ticket.receipt and message.visible_at > self._clock():
                    message.visible_at = self._clock() + timedelta(seconds=seconds)
            self._changed.notify_all()

    def delete(self, ticket: Ticket) -> None:
        """See JobQueue."""
        with self._changed:
            lane = self._lanes[ticket.priority]
            lane[:] = [message for message in lane if message.receipt != ticket.receipt]


class InMemoryDeadLetters:
    """`DeadLetters` in memory. A test puts the messages of `add` into it."""

    def __init__(self, clock: Clock, *, visibility: timedelta = timedelta(minutes=3)) -> None:
        self._clock = clock
        self._visibility = visibility
        self._messages: dict[str, _DeadMessage] = {}

    def add(self, job_id: JobId | None, text: str = "") -> None:
        """Put a ticket of the job, or a message that is no ticket, into the queue."""
        now = self._clock()
        self._messages[secrets.token_hex(8)] = _DeadMessage(job_id, text, now, now)

    def receive(self, limit: int) -> list[tuple[JobId | None, str]]:
        """See DeadLetters."""
        return [
            (message.job_id, message_id)
            for message_id, message in self._taken(limit, self._visibility)
        ]

    def delete(self, receipt: str) -> None:
        """See DeadLetters."""
        self._messages.pop(receipt, None)

    def peek(self, limit: int) -> list[DeadLetter]:
        """See DeadLetters."""
        return [
            DeadLetter(message_id, m.job_id, m.text, m.sent_at, m.received)
            for message_id, m in self._taken(limit, timedelta(0))
        ]

    def _taken(self, limit: int, hidden: timedelta) -> list[tuple[str, _DeadMessage]]:
        now = self._clock()
        visible = [(id_, m) for id_, m in self._messages.items() if m.visible_at <= now][:limit]
        for _, message in visible:
            message.visible_at, message.received = now + hidden, message.received + 1
        return visible


@dataclass(slots=True)
class _DeadMessage:
    job_id: JobId | None
    text: str
    sent_at: datetime
    visible_at: datetime
    received: int = 0
