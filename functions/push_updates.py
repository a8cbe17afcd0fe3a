"""The jobs table's stream: each change of a job's row becomes messages to its followers.

Records of one job stay in order; several jobs of a batch go side by side. Where the service is out
of reach, the first record of the job is reported and the stream comes back to it. A record that no
retry can help is logged and passed over: it never holds up the others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

from aws_lambda_powertools import Logger

from comfyline.aws.codec import job_of
from comfyline.domain.errors import Unavailable
from comfyline.domain.job import Job
from comfyline.settings import PushUpdatesSettings
from comfyline.usecases.admit import Admission
from comfyline.usecases.notify import Change, Notifier
from functions import _wiring

JOBS_AT_ONCE = 8  # each makes a few reads; more threads than this only queue for the CPU
POSTS_AT_ONCE = 32  # they wait on the network; a job's 200 watchers are served in 7 rounds

logger = Logger(service="push_updates")

Record = Mapping[str, Any]


def handler(event: Mapping[str, Any], _context: Any) -> dict[str, Any]:
    """The sequence numbers of the records that must come again."""
    by_job: dict[str, list[Record]] = defaultdict(list)
    for record in event["Records"]:
        by_job[_job_id(record)].append(record)
    with ThreadPoolExecutor(POSTS_AT_ONCE) as posts, ThreadPoolExecutor(JOBS_AT_ONCE) as jobs:
        notifier, admission = _notifier(posts), _admission()
        failed = list(
            jobs.map(lambda records: _push(notifier, admission, records), by_job.values())
        )
    return {"batchItemFailures": [{"itemIdentifier": number} for number in failed if number]}


def _push(notifier: Notifier, admission: Admission, records: Sequence[Record]) -> str | None:
    """Tell one job's changes in order; the number of the first of them if they must come again."""
    extra = {"action": "push_failed", "job_id": _job_id(records[0])}
    try:
        changes = [change for record in records if (change := _change(record))]
        if changes and changes[-1][1].status.is_terminal:
            admission.ended(changes[-1][1])  # first: who hears the end may post the next job
        if changes:
            notifier.notify(changes)
    except Unavailable:
        logger.warning("changes not told yet", exc_info=True, extra=extra)
        return str(records[0]["dynamodb"]["SequenceNumber"])
    except Exception:  # of this job alone, and for ever: clients poll when in doubt
        logger.exception("changes not told", extra=extra)
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
    return (old, new) if new else None


def _job(image: Mapping[str, Any] | None) -> Job | None:
    return job_of(image) if image else None


def _job_id(record: Record) -> str:
    return str(record["dynamodb"]["Keys"]["pk"]["S"])


def _notifier(posts: Executor) -> Notifier:
    settings = _wiring.settings(PushUpdatesSettings)
    return _wiring.notifier(settings, posts)


def _admission() -> Admission:
    settings = _wiring.settings(PushUpdatesSettings)
    return Admission(
        owners=_wiring.owners(settings.owners_table),
        jobs=_wiring.jobs(settings.jobs_table),
        clock=_wiring.clock,
    )
