"""Give tickets that nobody could make sense of another way: a live job gets a fresh one."""

from __future__ import annotations

from collections import Counter

from comfyline.ports import DeadLetters, JobQueue, JobStore

BATCH = 10  # of one receive


def redrive(*, dead: DeadLetters, store: JobStore, queue: JobQueue) -> Counter[str]:
    """Empty the dead-letter queue: what became of its tickets, counted.

    The new ticket is sent before the old one is deleted: if we die in between, there are two, which
    is no harm.
    """
    done: Counter[str] = Counter()
    while tickets := dead.receive(BATCH):
        for job_id, receipt in tickets:
            job = store.get(job_id) if job_id else None
            if job is not None and not job.status.is_terminal:
                queue.send(job.id, job.owner, job.priority)
                done["sent again"] += 1
            else:
                done["of no live job"] += 1
            dead.delete(receipt)
    return done
