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
        Exception: the record is not one of a job's row, or this code does not know its schema.
    """
    images = record["dynamodb"]
    before, after = images.get("OldImage"), images.get("NewImage")
    if after is None:
        return None
    return Change(job_of(before) if before else None, job_of(after))


def number_of(record: Record) -> str:
    """The sequence number of the record, by which Lambda delivers it again."""
    return str(record["dynamodb"]["SequenceNumber"])


def job_id_of(record: Record) -> str:
    """The id of the job for the log; "None" if the record has none."""
    return str(record.get("dynamodb", {}).get("Keys", {}).get("pk", {}).get("S"))


def failures(numbers: Iterable[str]) -> dict[str, Any]:
    """The response that makes Lambda deliver these records, or messages, again."""
    return {"batchItemFailures": [{"itemIdentifier": number} for number in numbers]}
