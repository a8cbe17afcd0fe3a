"""The jobs table's stream: each change of a job's row becomes messages to its followers.

Records of one job stay in order; several jobs of a batch go side by side. Where the service is out
of reach, the first record of the job is reported and the stream comes back to it. A record that no
retry can help is logged and passed over: it never holds up the others. The ends in a batch are
counted together, once however often they come.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aws_lambda_powertools import Logger

from comfyline.adapters.aws.jobs.codec import job_of
from comfyline.contract.ids import JobId
from comfyline.service.errors import Unavailable
from comfyline.service.intake.admit import Admission
from comfyline.service.jobs.change import Change
from comfyline.service.jobs.job import Job
from comfyline.service.ledger.count import count
from comfyline.service.live.notify import Notifier
from functions._handlers import Event, lambda_handler
from functions._wiring import Wiring

JOBS_AT_ONCE = 8  # each makes a few reads; more threads than this only queue for the CPU

logger = Logger(service="push_updates")

Record = Mapping[str, Any]
Numbered = tuple[str, Change]  # by the stream


@lambda_handler
def handler(event: Event, wiring: Wiring) -> dict[str, Any]:
    """The sequence numbers of the records that must come again."""
    by_job: dict[JobId, list[Numbered]] = defaultdict(list)
    for record in event["Records"]:
        if change := _change(record):
            by_job[change.after.id].append((str(record["dynamodb"]["SequenceNumber"]), change))
    notifier, admission = wiring.notifier, wiring.admission
    with ThreadPoolExecutor(JOBS_AT_ONCE) as jobs:
        failed = [*jobs.map(lambda told: _push(notifier, admission, told), by_job.values())]
    failed.append(_count([told for changes in by_job.values() for told in changes], wiring))
    logger.debug("changes told", extra={"action": "changes_told", "jobs": len(by_job)})
    return {"batchItemFailures": [{"itemIdentifier": number} for number in failed if number]}


def _push(notifier: Notifier, admission: Admission, told: Sequence[Numbered]) -> str | None:
    """Tell one job's changes in order; the number of the first of them if they must come again."""
    first, changes = told[0][0], [change for _, change in told]
    job = changes[-1].after
    extra = {"action": "push_failed", "job_id": job.id}
    try:
        if job.status.is_terminal:
            admission.ended(job)  # first: who hears the end may post the next job
        notifier.notify(changes)
    except Unavailable:
        logger.warning("changes not told yet", exc_info=True, extra=extra)
        return first
    except Exception:  # of this job alone, and for ever: clients poll when in doubt
        logger.exception("changes not told", extra=extra)
    return None


def _count(told: Sequence[Numbered], wiring: Wiring) -> str | None:
    """Count the ends among all changes; the number of the first end if they must come again."""
    ends = [(number, change.after) for number, change in told if change.ends_the_job]
    extra = {"action": "count_failed", "jobs": len(ends)}
    try:
        if ends:
            count([job for _, job in ends], ledger=wiring.ledger, metrics=wiring.metrics)
    except Unavailable:
        logger.warning("ends not counted yet", exc_info=True, extra=extra)
        return min((number for number, _ in ends), key=int)
    except Exception:  # told again it fails again, and would hold up every job
        logger.exception("ends not counted", extra=extra)
    return None


def _change(record: Record) -> Change | None:
    """The old and the new row; None if it was removed, or nobody can read it."""
    images = record["dynamodb"]
    try:
        old, new = _job(images.get("OldImage")), _job(images.get("NewImage"))
    except Exception:  # whatever is wrong with it, it stays wrong
        extra = {"action": "record_unreadable", "job_id": _job_id(record)}
        logger.exception("record unreadable", extra=extra)
        return None
    return Change(old, new) if new else None


def _job(image: Mapping[str, Any] | None) -> Job | None:
    return job_of(image) if image else None


def _job_id(record: Record) -> str:
    return str(record["dynamodb"]["Keys"]["pk"]["S"])
