"""Empty the dead-letter queue: a job that can still run gets a new ticket.

SQS moves a ticket there after too many deliveries. That number says nothing about the job,
because claims are counted in the job's row. The event that is due by the clock is applied first, so
a job without a remaining attempt ends here.
"""

from __future__ import annotations

import logging
from collections import Counter

from comfyline.contract.ids import JobId
from comfyline.service.clock import Clock
from comfyline.service.errors import JobNotFound, Unavailable, Unreadable
from comfyline.service.jobs.change import change
from comfyline.service.jobs.decide import on_due_time
from comfyline.service.jobs.store import JobStore
from comfyline.service.queue.tickets import DeadLetters, JobQueue

_log = logging.getLogger(__name__)

BATCH = 10  # messages per receive, which is the limit of SQS


def send_again(job_id: JobId, *, store: JobStore, queue: JobQueue, clock: Clock) -> bool:
    """Send a new ticket if the job has not ended, even if a worker holds it; whether one was sent.

    The caller may delete the dead ticket afterwards. The row is written before the ticket is sent:
    after a crash in between, the dead ticket is received again, or the sweeper finds the job due.

    The row of a job that cannot be read gets no ticket.

    Raises:
        Unavailable: the table or the queue did not answer.
    """
    now = clock()
    try:
        job = store.get(job_id)
        if job is None:
            return False
        job = change(store, lambda: now, job, lambda current: on_due_time(current, now))
    except JobNotFound:
        return False
    except Unreadable as error:  # a ticket cannot help: the sweeper sets the row aside
        extra = {"action": "row_unreadable", "job_id": job_id, "reason": str(error)}
        _log.error("job of a dead ticket unreadable", extra=extra)
        return False
    if job.status.is_terminal:
        return False
    queue.send(job.id, job.owner, job.priority)
    return True


SENT_AGAIN, OF_NO_LIVE_JOB, OUT_OF_REACH = "sent again", "of no live job", "out of reach"


def redrive(
    *,
    dead: DeadLetters,
    store: JobStore,
    queue: JobQueue,
    clock: Clock,
    limit: int | None = None,
) -> Counter[str]:
    """Empty the dead-letter queue, or handle `limit` tickets; returns how many by outcome.

    The new ticket is sent before the old one is deleted. After a crash in between there are two
    tickets, which does no harm. A ticket whose job is out of reach stays, and is delivered again
    when its visibility timeout ends.
    """
    outcomes: Counter[str] = Counter()
    while (left := BATCH if limit is None else min(BATCH, limit - outcomes.total())) > 0:
        if not (tickets := dead.receive(left)):
            break
        for job_id, receipt in tickets:
            outcomes[_handled(job_id, receipt, dead, store, queue, clock)] += 1
    return outcomes


def _handled(
    job_id: JobId | None,
    receipt: str,
    dead: DeadLetters,
    store: JobStore,
    queue: JobQueue,
    clock: Clock,
) -> str:
    try:
        is_sent = job_id and send_again(job_id, store=store, queue=queue, clock=clock)
        dead.delete(receipt)
    except Unavailable:
        extra = {"action": "redrive_failed", "job_id": job_id}
        _log.warning("ticket not settled yet", exc_info=True, extra=extra)
        return OUT_OF_REACH
    return SENT_AGAIN if is_sent else OF_NO_LIVE_JOB
