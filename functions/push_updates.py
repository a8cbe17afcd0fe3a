"""The jobs table's stream: each change of a job's row becomes messages to its followers.

Records of one job stay in order; several jobs of a batch go side by side. The first record that
fails is reported, and the stream comes back to it and what follows it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aws_lambda_powertools import Logger

from comfyline.aws.codec import job_of
from comfyline.domain.errors import ComfylineError
from comfyline.domain.job import Job
from comfyline.settings import PushUpdatesSettings
from comfyline.usecases.notify import Notifier
from functions import _wiring

JOBS_AT_ONCE = 8  # posts wait on the network; more threads than this only queue for the CPU

logger = Logger(service="push_updates")

Record = Mapping[str, Any]


def handler(event: Mapping[str, Any], _context: Any) -> dict[str, Any]:
    """The sequence numbers of the records that must come again."""
    notifier = _notifier()
    by_job: dict[str, list[Record]] = defaultdict(list)
    for record in event["Records"]:
        by_job[record["dynamodb"]["Keys"]["pk"]["S"]].append(record)
    with ThreadPoolExecutor(min(JOBS_AT_ONCE, len(by_job) or 1)) as pool:
        failed = pool.map(lambda records: _push(notifier, records), by_job.values())
    return {"batchItemFailures": [{"itemIdentifier": number} for number in failed if number]}


def _push(notifier: Notifier, records: Sequence[Record]) -> str | None:
    """Tell one job's changes in order; the number of the first that could not be told."""
    for record in records:
        try:
            images = record["dynamodb"]
            old, new = _job(images.get("OldImage")), _job(images.get("NewImage"))
            if new is not None:
                notifier.notify(old, new)
        except ComfylineError:
            logger.exception("change not told", extra={"action": "push_failed"})
            return str(record["dynamodb"]["SequenceNumber"])
    return None


def _job(image: Mapping[str, Any] | None) -> Job | None:
    return job_of(image) if image else None


def _notifier() -> Notifier:
    settings = _wiring.settings(PushUpdatesSettings)
    return Notifier(
        jobs=_wiring.jobs(settings.jobs_table),
        connections=_wiring.connections(settings.connections_table),
        artifacts=_wiring.artifacts(settings.artifacts_bucket),
        sockets=_wiring.sockets(settings),
        clock=_wiring.clock,
    )
