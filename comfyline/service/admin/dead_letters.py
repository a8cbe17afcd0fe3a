"""The dead-letter queue as an operator sees it: the tickets with their jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from comfyline.service.jobs.job import Job
from comfyline.service.jobs.store import JobStore
from comfyline.service.queue.tickets import Backlog, DeadLetter, DeadLetters, Depths

# Each takes a call to SQS after the look, and a look must end long before its messages come back.
SHOWN = 50
# Each takes three calls of some milliseconds, and a request ends after 30 s at most.
REDRIVEN_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class SeenLetters:
    """Some tickets, each with its job if there is one, and the counts of the queue."""

    letters: Sequence[tuple[DeadLetter, Job | None]]
    depths: Depths  # before the look


def look(*, dead: DeadLetters, backlog: Backlog, store: JobStore) -> SeenLetters:
    """Up to SHOWN tickets that can be seen. Nothing changes but their counts of deliveries."""
    depths = backlog.depths()
    letters = dead.peek(SHOWN) if depths.waiting else []
    jobs = {job.id: job for job in store.get_many([each.job_id for each in letters if each.job_id])}
    found = [(each, jobs.get(each.job_id) if each.job_id else None) for each in letters]
    return SeenLetters(found, depths)
