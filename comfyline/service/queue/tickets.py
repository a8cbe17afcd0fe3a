"""Tickets: messages that tell a worker which job to look at. A lane is the queue of one priority.

A ticket may be delivered twice, late or never. So it says nothing about the state of its job: the
job's row in the table does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from comfyline.contract.ids import JobId, OwnerId
    from comfyline.service.queue.lanes import Priority


# The most tickets that one call of SQS sends.
TICKET_BATCH = 10


@dataclass(frozen=True, slots=True)
class Ticket:
    """One delivery of a ticket. `receipt` is SQS's handle of this delivery.

    `trace_id` is the trace of the request that sent the ticket, if that request was traced.
    """

    job_id: JobId
    priority: Priority
    receipt: str
    trace_id: str | None = None


class JobQueue(Protocol):
    """Three lanes of tickets. A ticket is delivered at least once, in no particular order."""

    def send(self, job_id: JobId, owner: OwnerId, priority: Priority) -> None:
        """Send a ticket. The queue is fair between owners: no owner's tickets delay all others.

        Raises:
            Unavailable: the queue cannot be reached.
        """

    def send_many(self, jobs: Sequence[tuple[JobId, OwnerId]], priority: Priority) -> None:
        """Send a ticket of the lane for each job, in as few calls as possible; see `send`.

        Raises:
            Unavailable: not all of the tickets were sent.
        """

    def depth(self, priority: Priority) -> int:
        """Approximately how many tickets of the lane wait for a worker."""

    def in_flight(self, priority: Priority) -> int:
        """Approximately how many tickets of the lane are held by workers."""

    def receive(self, priority: Priority, *, wait_seconds: int, limit: int = 1) -> list[Ticket]:
        """Receive up to `limit` tickets of one lane. Wait up to `wait_seconds` for the first one.

        A message that is not a ticket is logged and deleted.
        """

    def hide(self, ticket: Ticket, seconds: int) -> None:
        """Hide the ticket from all workers for that long from now. 0 makes it visible at once.

        Does nothing if the delivery is over, because the ticket then belongs to the worker that
        has received it since, or it was deleted.
        """

    def delete(self, ticket: Ticket) -> None:
        """Delete the ticket. Does nothing if the delivery is over."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A ticket of the dead-letter queue, as it can be looked at."""

    id: str  # the message's
    job_id: JobId | None  # None: the message is not a ticket
    text: str  # the beginning of a message that is not a ticket, as ASCII
    sent_at: datetime
    received: int  # how often it was delivered, each look included


class DeadLetters(Protocol):
    """The dead-letter queue: tickets that were received too often without being deleted."""

    def receive(self, limit: int) -> list[tuple[JobId | None, str]]:
        """Receive up to `limit` tickets, each as a job and a receipt.

        The job is None if the message is not a ticket.
        """

    def delete(self, receipt: str) -> None:
        """Delete the ticket of this receipt."""

    def peek(self, limit: int) -> list[DeadLetter]:
        """Up to `limit` tickets that are not being tried just now, oldest first.

        They stay in the queue, and are delivered again at once. If this process dies meanwhile,
        they are delivered some seconds later.
        """


@dataclass(frozen=True, slots=True)
class Depths:
    """The tickets of all lanes together. Both counts may be a few seconds old."""

    waiting: int  # no worker holds them
    in_flight: int  # workers hold them


class Backlog(Protocol):
    """The tickets of all lanes, as the scaler sees them."""

    def depths(self) -> Depths:
        """Count the tickets."""
