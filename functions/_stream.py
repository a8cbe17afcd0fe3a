"""Records of the jobs table's stream, as Lambda delivers them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from comfyline.adapters.aws.jobs.codec import job_of
from comfyline.service.jobs.change import Change

Record = Mapping[str, Any]


def change_of(record: Record) -> Change | None:
    """The row before and after the write; None if the row was removed.

    Raises:
        Exception: the record is none of a job's row, or its schema is unknown to this code.
    """
    images = record["dynamodb"]
    before, after = images.get("OldImage"), images.get("NewImage")
    if after is None:
        return None
    return Change(job_of(before) if before else None, job_of(after))


def number_of(record: Record) -> str:
    """The sequence number: Lambda comes back to a record by it."""
    return str(record["dynamodb"]["SequenceNumber"])


def job_id_of(record: Record) -> str:
    """The id of the job, for the log, as far as the record has one."""
    return str(record.get("dynamodb", {}).get("Keys", {}).get("pk", {}).get("S"))


def failures(numbers: Iterable[str]) -> dict[str, Any]:
    """The response that makes Lambda deliver these records, or messages, again."""
    return {"batchItemFailures": [{"itemIdentifier": number} for number in numbers]}
