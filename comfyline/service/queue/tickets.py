"""Tickets on their way to a worker. A ticket is a pointer and may come twice, late or never: what
is true of a job, its row says.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from comfyline.contract.ids import JobId, OwnerId
    from comfyline.service.jobs.job import Priority


@dataclass(frozen=True, slots=True)
class Ticket:
    """One delivery of one message: which job to look at, and the handle of this delivery.

    `trace_id` is that of the request that sent it, where that was traced.
    """

    job_id: JobId
    priority: Priority
    receipt: str
    trace_id: str | None = None


class JobQueue(Protocol):
    """Tickets in three lanes. At least once, in no particular order."""

    def send(self, job_id: JobId, owner: OwnerId, priority: Priority) -> None:
        """Queue a ticket; `owner` is what the queue is fair between.

        Raises:
            Unavailable: the queue is out of reach.
        """

    def depth(self, priority: Priority) -> int:
        """About how many tickets of the lane wait for a worker."""

    def in_flight(self, priority: Priority) -> int:
        """About how many tickets of the lane are in the hands of workers."""

    def receive(self, priority: Priority, *, wait_seconds: int, limit: int = 1) -> list[Ticket]:
        """Up to `limit` tickets of one lane, waiting up to `wait_seconds` for the first.

        A message that is no ticket is removed and logged, never returned.
        """

    def hide(self, ticket: Ticket, seconds: int) -> None:
        """Keep the ticket from everybody for that long from now; 0 hands it back at once.

        No error if the delivery is over: whoever has the ticket now decides about it.
        """

    def delete(self, ticket: Ticket) -> None:
        """Done with it; no error if the delivery is over."""


class DeadLetters(Protocol):
    """Tickets that were delivered too often."""

    def receive(self, limit: int) -> list[tuple[JobId | None, str]]:
        """Up to `limit` of them: the job, None if it cannot be read, and a receipt."""

    def delete(self, receipt: str) -> None:
        """Done with one."""


@dataclass(frozen=True, slots=True)
class Depths:
    """Tickets of all lanes together; both counts may lag behind by moments."""

    waiting: int  # no worker has them
    in_flight: int  # workers have them


class Backlog(Protocol):
    """What the lanes hold, from outside."""

    def depths(self) -> Depths:
        """How many tickets there are now."""

    def oldest_wait(self, now: datetime) -> timedelta:
        """How long the oldest ticket has been there; it may be one that a worker has.

        Minutes old at worst, and nothing where nothing is known.
        """
