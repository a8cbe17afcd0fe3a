"""Tickets that were delivered too often: a job that may still run gets a fresh one.

How often a ticket was delivered says nothing of its job, whose claims are counted in its row. What
the clock means for the job comes first, so one that has no try left ends here.
"""

from __future__ import annotations

from collections import Counter

from comfyline.contract.ids import JobId
from comfyline.service.clock import Clock
from comfyline.service.errors import JobNotFound
from comfyline.service.jobs.change import change
from comfyline.service.jobs.decide import on_due_time
from comfyline.service.jobs.store import JobStore
from comfyline.service.queue.tickets import DeadLetters, JobQueue

BATCH = 10  # of one receive


def send_again(job_id: JobId, *, store: JobStore, queue: JobQueue, clock: Clock) -> bool:
    """Send a job a fresh ticket if it lives, also where a worker holds it; whether one was sent.

    The dead ticket may be removed after it. It is noted before it is sent: if we die in between,
    the dead ticket comes again, or the sweeper finds the job.

    Raises:
        Unavailable: the job or its queue is out of reach.
    """
    job, now = store.get(job_id), clock()
    if job is None:
        return False
    try:
        job = change(store, lambda: now, job, lambda current: on_due_time(current, now))
    except JobNotFound:
        return False
    if job.status.is_terminal:
        return False
    queue.send(job.id, job.owner, job.priority)
    return True


def redrive(*, dead: DeadLetters, store: JobStore, queue: JobQueue, clock: Clock) -> Counter[str]:
    """Empty the dead-letter queue: what became of its tickets, counted.

    The new ticket is sent before the old one is deleted: if we die in between, there are two, which
    is no harm.
    """
    done: Counter[str] = Counter()
    while tickets := dead.receive(BATCH):
        for job_id, receipt in tickets:
            sent = job_id and send_again(job_id, store=store, queue=queue, clock=clock)
            done["sent again" if sent else "of no live job"] += 1
            dead.delete(receipt)
    return done
