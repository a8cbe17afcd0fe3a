"""The jobs table's stream, second reader: settle ended jobs, and wake the scaler for new ones.

No error loses an end. If a step fails twice for a job, or if this code cannot read a record, the
function parks the step or the record in a queue, and the stream goes on. If the queue refuses the
message too, the stream delivers the batch again, for as long as it holds the records (24 h). The
queue delivers its messages to this function, and keeps each one until the function succeeds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from comfyline.adapters.aws.jobs.parking import parked_step
from comfyline.adapters.aws.queue import shown
from comfyline.service.errors import Unavailable, Unreadable
from comfyline.service.jobs.change import Change
from comfyline.service.jobs.settle import ParkedStep
from comfyline.service.metrics import Metric
from functions._handlers import Event, at_start, lambda_handler, logger
from functions._stream import Record, change_of, failures, job_id_of, number_of
from functions._wiring import Wiring

at_start(lambda wiring: (wiring.settlement, wiring.fleet.wake))


@lambda_handler
def handler(event: Event, wiring: Wiring) -> dict[str, Any]:
    """Handle a batch of the stream or of the queue; returns what must be delivered again."""
    records: Sequence[Record] = event["Records"]
    if any(record.get("eventSource") == "aws:sqs" for record in records):
        return failures(record["messageId"] for record in records if not _is_done(record, wiring))
    changes, failed = _read(records, wiring)
    failed += _settle(changes, wiring)
    _wake_scaler(changes, wiring)
    return failures(number for number in failed if number)


def _read(records: Iterable[Record], wiring: Wiring) -> tuple[dict[str, Change], list[str]]:
    """The changes by sequence number, and the numbers of records that could not be set aside."""
    changes, failed = dict[str, Change](), list[str]()
    for record in records:
        try:
            change = change_of(record)
        except Unreadable:
            extra = {"action": "record_unreadable", "job_id": job_id_of(record)}
            logger.exception("record unreadable", extra=extra)
            wiring.aws.metrics.record(Metric.ITEMS_UNREADABLE)
            text = _text_of(record)
            if text and not _is_stored(partial(wiring.aws.parking.set_aside, text)):
                failed.append(number_of(record))
        else:
            if change is not None:
                changes[number_of(record)] = change
    return changes, failed


def _text_of(record: Record) -> str | None:
    """The record as JSON; None if it has none, so that no queue can keep it."""
    try:
        return json.dumps(record)
    except (RecursionError, TypeError, ValueError):
        return None


def _settle(changes: Mapping[str, Change], wiring: Wiring) -> list[str]:
    """Settle the ended jobs; returns their numbers if the failed steps could not be parked."""
    ends = {number: change.after for number, change in changes.items() if change.ends_the_job}
    if not ends:
        return []
    failed = wiring.settlement.settle(list(ends.values()))
    if not failed or _is_stored(partial(wiring.aws.parking.park, failed)):
        return []
    return list(ends)


def _is_stored(store: Callable[[], object]) -> bool:
    try:
        store()
    except Exception:  # the stream delivers the record again
        logger.exception("not parked", extra={"action": "parking_failed"})
        return False
    return True


def _wake_scaler(changes: Mapping[str, Change], wiring: Wiring) -> None:
    arrived = [change.after.queued_at for change in changes.values() if change.before is None]
    if arrived and wiring.fleet.wake is not None:
        wiring.fleet.wake.jobs_arrived(arrived)


def _is_done(message: Mapping[str, Any], wiring: Wiring) -> bool:
    """Handle a message of the queue; False if the message must stay there."""
    extra = {"message_id": message["messageId"]}
    try:
        parked = parked_step(message["body"])
    except Unreadable:  # a retry cannot help, and the log line is the only copy of the text
        about = {"action": "message_unreadable", **shown(message["body"])}
        logger.exception("unreadable message dropped", extra=extra | about)
        wiring.aws.metrics.record(Metric.ITEMS_UNREADABLE)
        return True
    try:
        _settle_again(parked, wiring)
    except Exception:  # the message stays in the queue, and an alarm watches its depth
        logger.exception("parked message failed", extra=extra | {"action": "parked_failed"})
        return False
    logger.info("parked message done", extra=extra | {"action": "parked_done"})
    return True


def _settle_again(parked: ParkedStep | Record, wiring: Wiring) -> None:
    if isinstance(parked, ParkedStep):
        return wiring.settlement.settle_parked(parked)
    change = change_of(parked)
    if change is not None and change.ends_the_job and wiring.settlement.settle([change.after]):
        raise Unavailable(f"{change.after.id} is not settled")
    return None
