"""Records of the jobs table's stream, as Lambda delivers them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from comfyline.adapters.aws.jobs.codec import job_of
from comfyline.service.errors import Unreadable
from comfyline.service.jobs.change import Change

Record = Mapping[str, Any]


def change_of(record: Record) -> Change | None:
    """The row before and after the write; None if the row was removed.

    Raises:
        Unreadable: the record is not one of a job's row, or this code does not know its schema. No
            record raises anything else.
    """
    try:
        images = record["dynamodb"]
        before, after = images.get("OldImage"), images.get("NewImage")
    except (AttributeError, LookupError, TypeError) as error:
        raise Unreadable(f"not a record of a table: {error!r}") from error
    if after is None:
        return None
    return Change(job_of(before) if before else None, job_of(after))


def number_of(record: Record) -> str:
    """The sequence number of the record, by which Lambda delivers it again; "" if it has none."""
    return str(_within(record, "dynamodb", "SequenceNumber") or "")


def job_id_of(record: Record) -> str:
    """The id of the job for the log; "None" if the record has none."""
    return str(_within(record, "dynamodb", "Keys", "pk", "S"))


def _within(value: Any, *names: str) -> Any:
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def failures(numbers: Iterable[str]) -> dict[str, Any]:
    """The response that makes Lambda deliver these records, or messages, again."""
    return {"batchItemFailures": [{"itemIdentifier": number} for number in numbers]}
