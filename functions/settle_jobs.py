"""The jobs table's stream, second reader: settle ended jobs, and wake the scaler for new ones.

Nothing is lost here, whatever fails. A step that fails twice for a job is parked in a queue, and so
is a record that this code cannot read; then the record counts as done. Only if the queue does not
take them does the stream deliver the batch again, for as long as it holds the records (24 h). The
queue delivers what is parked to this function too, until it succeeds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from comfyline.adapters.aws.jobs.parking import parked_step
from comfyline.service.errors import Unavailable
from comfyline.service.jobs.change import Change
from comfyline.service.jobs.settle import ParkedStep
from functions._handlers import Event, lambda_handler, logger
from functions._stream import Record, change_of, failures, job_id_of, number_of
from functions._wiring import Wiring


@lambda_handler
def handler(event: Event, wiring: Wiring) -> dict[str, Any]:
    """Returns the records, or messages, that must be delivered again."""
    records: Sequence[Record] = event["Records"]
    if any(record.get("eventSource") == "aws:sqs" for record in records):
        return failures(record["messageId"] for record in records if not _redo(record, wiring))
    changes, failed = _read(records, wiring)
    failed += _settle(changes, wiring)
    _wake_scaler(changes, wiring)
    return failures(failed)


def _read(records: Iterable[Record], wiring: Wiring) -> tuple[dict[str, Change], list[str]]:
    """The changes by sequence number, and the numbers of records that could not be set aside."""
    changes, failed = dict[str, Change](), list[str]()
    for record in records:
        try:
            change = change_of(record)
        except Exception:
            extra = {"action": "record_unreadable", "job_id": job_id_of(record)}
            logger.exception("record unreadable", extra=extra)
            if not _is_kept(partial(wiring.aws.parking.set_aside, json.dumps(record))):
                failed.append(number_of(record))
        else:
            if change is not None:
                changes[number_of(record)] = change
    return changes, failed


def _settle(changes: Mapping[str, Change], wiring: Wiring) -> list[str]:
    """Settle the jobs that have ended; their numbers if what failed could not be parked."""
    ends = {number: change.after for number, change in changes.items() if change.ends_the_job}
    if not ends:
        return []
    failed = wiring.settlement.settle(list(ends.values()))
    if not failed or _is_kept(partial(wiring.aws.parking.park, failed)):
        return []
    return list(ends)


def _is_kept(keep: Callable[[], object]) -> bool:
    try:
        keep()
    except Unavailable:
        logger.exception("not parked", extra={"action": "parking_failed"})
        return False
    return True


def _wake_scaler(changes: Mapping[str, Change], wiring: Wiring) -> None:
    arrived = [change.after.queued_at for change in changes.values() if change.before is None]
    if arrived and wiring.scaler_wake is not None:
        wiring.scaler_wake.jobs_arrived(arrived)


def _redo(message: Mapping[str, Any], wiring: Wiring) -> bool:
    """Try once more what was parked; False if it must stay in the queue."""
    extra = {"message_id": message["messageId"]}
    try:
        _redo_parked(parked_step(message["body"]), wiring)
    except Exception:  # the message stays in the queue, whose depth has an alarm
        logger.exception("parked message failed", extra=extra | {"action": "parked_failed"})
        return False
    logger.info("parked message done", extra=extra | {"action": "parked_done"})
    return True


def _redo_parked(parked: ParkedStep | str, wiring: Wiring) -> None:
    if isinstance(parked, ParkedStep):
        return wiring.settlement.settle_parked(parked)
    change = change_of(json.loads(parked))
    if change is not None and change.ends_the_job and wiring.settlement.settle([change.after]):
        raise Unavailable(f"{change.after.id} is not settled")
    return None
