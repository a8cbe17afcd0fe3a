"""The jobs table's stream, first reader: send each change of a watched job to its subscribers.

Live updates are best effort: Lambda drops a record after five minutes, and a client that receives
nothing for 30 s polls. Changes of one job stay in order; several jobs of a batch are handled side
by side. If AWS throttles or fails, the first record of the job is reported, and the stream delivers
it again. A record that would fail again is logged and skipped, so that it delays no other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from comfyline.contract.ids import JobId
from comfyline.service.errors import Unavailable, Unreadable
from comfyline.service.jobs.change import Change
from comfyline.service.live.notify import Notifier
from comfyline.service.metrics import Metric
from functions._handlers import Event, at_start, lambda_handler, logger
from functions._stream import Record, change_of, failures, job_id_of, number_of
from functions._wiring import Wiring

JOBS_AT_ONCE = 8  # threads; each job needs a few reads, and more threads would wait for the CPU

Numbered = tuple[str, Change]  # with the record's sequence number


at_start(lambda wiring: wiring.live.pusher)


@lambda_handler
def handler(event: Event, wiring: Wiring) -> dict[str, Any]:
    """Push a batch of changes; returns the records from which the stream must deliver again."""
    by_job: dict[JobId, list[Numbered]] = defaultdict(list)
    for record in event["Records"]:
        if change := _change(record, wiring):
            by_job[change.after.id].append((number_of(record), change))
    notifier = wiring.live.pusher
    with ThreadPoolExecutor(JOBS_AT_ONCE) as jobs:
        failed = [*jobs.map(lambda changes: _push(notifier, changes), by_job.values())]
    logger.debug("changes pushed", extra={"action": "changes_told", "jobs": len(by_job)})
    return failures(number for number in failed if number)


def _push(notifier: Notifier, numbered: Sequence[Numbered]) -> str | None:
    """Push the changes of one job in order; returns the first number if they must be repeated."""
    first_number, changes = numbered[0][0], [change for _, change in numbered]
    extra = {"action": "push_failed", "job_id": changes[-1].after.id}
    try:
        notifier.notify(changes)
    except Unavailable:
        logger.warning("changes not pushed yet", exc_info=True, extra=extra)
        return first_number
    except Exception:  # a retry would fail in the same way, and clients poll when in doubt
        logger.exception("changes not pushed", extra=extra)
    return None


def _change(record: Record, wiring: Wiring) -> Change | None:
    """The change, or None if the row was removed or the record is unreadable."""
    try:
        return change_of(record)
    except Unreadable:  # a retry cannot make it readable
        extra = {"action": "record_unreadable", "job_id": job_id_of(record)}
        logger.exception("record unreadable", extra=extra)
        wiring.aws.metrics.record(Metric.ITEMS_UNREADABLE)
        return None
