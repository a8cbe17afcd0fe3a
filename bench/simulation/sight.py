"""What the scaler is not misled by: the same days with a scaler that sees less.

On AWS a queue counts copies of tickets and the age of tickets whose jobs run, and an order of spot
instances may wait for ever. Each value of `Sight` takes one remedy away.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from enum import StrEnum

from bench.simulation.group import Group, next_look
from comfyline.service.jobs.sweep import LAST_PATIENT_LOOK, LONG_QUEUE


class Sight(StrEnum):
    """What the scaler sees. The value completes the sentence "the scaler ..."."""

    DEPLOYED = "as it is deployed"
    COPIES = "with a second ticket for every job that waits"
    AGE = "with the age of the oldest ticket as the wait"
    SPOT_ONLY = "without a move from spot to on-demand"


class Copies:
    """The second tickets that the sweeper sends, because the first ones may have been lost.

    A copy is behind the tickets of all jobs that arrived before it was sent. A worker that receives
    it deletes it.
    """

    def __init__(self, *, is_patient: bool) -> None:
        """A sweeper that `is_patient` sends no copies into a long queue."""
        self._is_patient = is_patient
        self._sent: deque[tuple[float, int]] = deque()

    def sweep(self, now: float, waiting: Iterable[Group], tickets: int) -> None:
        """One round of the sweeper. `tickets` is the number that the queue shows."""
        due = [jobs for jobs in waiting if jobs.due_at <= now]
        is_long = tickets >= max(sum(jobs.count for jobs in due), LONG_QUEUE)
        for jobs in due:
            if not (self._is_patient and is_long and jobs.looks != LAST_PATIENT_LOOK):
                self._sent.append((now, jobs.count))
            jobs.looks += 1
            jobs.due_at = now + next_look(jobs.looks)

    def count(self, first_arrived: float) -> int:
        """The copies in the queue, whose first job arrived then."""
        while self._sent and self._sent[0][0] < first_arrived:
            self._sent.popleft()
        return sum(count for _, count in self._sent)
