"""Jobs as rows of the jobs table, and back.

Rule: a row always holds what conditions and indexes need, and otherwise only what differs from a
new job, because DynamoDB charges every update for the whole row. A reader ignores attributes that
it does not know, and uses a field's default if the attribute is missing, so that code can read rows
of one schema older and of one newer.

How a field is written follows from its annotation, as in service/settings.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar

from comfyline.adapters.aws.attributes import (
    Item,
    milliseconds,
    read_time,
    time_of,
    timedelta_of,
    ttl_of,
)
from comfyline.contract.ids import JOB_ID_PATTERN, JobId, WorkerId
from comfyline.service.errors import Unreadable
from comfyline.service.jobs.due import TIDY_DELAY
from comfyline.service.jobs.job import (
    SCHEMA,
    HistoryEntry,
    Job,
    JobError,
    JobOptions,
    Lease,
    PictureEncoding,
    PictureFormat,
    Status,
)
from comfyline.service.jobs.progress import Progress
from comfyline.service.jobs.store import UnreadableRow, due_shard
from comfyline.service.queue.lanes import Priority

_IS_ID = re.compile(JOB_ID_PATTERN).fullmatch

# --- the row --------------------------------------------------------------------------------------


def item_of(job: Job) -> dict[str, Any]:
    """The row of `job`, without its sort key."""
    entries = [{"S": _entry_text(entry, job.queued_at)} for entry in job.history]
    return {
        "pk": {"S": job.id},
        **{name: _KINDS_OF_JOB[name].write(getattr(job, name)) for name in _ALWAYS_WRITTEN},
        **_written_unless_default(_KINDS_OF_JOB, job),
        **({"history": {"L": entries}} if entries else {}),
        **_lease_attributes(job.lease),
        **index_attributes(job),
    }


def job_of(item: Item) -> Job:
    """The job of a row, from the table or from an image in its stream.

    Raises:
        Unreadable: the row is damaged, or its schema is neither this code's nor the one before or
            after. No row raises another error.
    """
    try:
        return _job_of(item)
    except Unreadable:
        raise
    except Exception as error:
        raise Unreadable(f"{_name_of(item)} cannot be read: {error!r:.200}") from error


def readable(item: Item, shard: str = "") -> Job | UnreadableRow:
    """The job of a row, or the id of a row that cannot be read, found in that shard.

    For callers that read many rows, of which one must not stop the others.
    """
    try:
        return job_of(item)
    except Unreadable as error:
        return UnreadableRow(JobId(_name_of(item)), shard, str(error))


def _name_of(item: Any) -> str:
    try:
        return str(item["pk"]["S"])
    except (LookupError, TypeError):
        return "a row without an id"


def _job_of(item: Item) -> Job:
    schema = int(item["schema"]["N"])
    if abs(schema - SCHEMA) > 1:
        raise Unreadable(f"{item['pk']['S']} has schema {schema}, this code has {SCHEMA}")
    if not _IS_ID(item["pk"]["S"]):
        raise Unreadable("a row has an id that no job can have")
    values = _read(_KINDS_OF_JOB, item)
    if missing := [name for name in _ALWAYS_WRITTEN if name not in item]:
        raise Unreadable(f"{item['pk']['S']} has no {missing[0]}")
    values.setdefault("tidy_pending", _tidy_pending_of_older_row(values))
    texts = [text["S"] for text in item.get("history", {"L": []})["L"]]
    job = Job(
        id=JobId(item["pk"]["S"]),
        lease=_lease(item),
        history=tuple(_entry(text, values["queued_at"]) for text in texts),
        **values,
    )
    if job.status.is_terminal and None in (job.finished_at, job.expires_at):
        raise Unreadable(f"{job.id} has ended, but without the time of its end")
    return job


def _tidy_pending_of_older_row(values: Mapping[str, Any]) -> bool:
    """Whether the void files of an ended job are yet to be removed, from its due time.

    Code that did not know the attribute yet may have written the job's end. Such a row is due
    TIDY_DELAY after the end until its files are removed, and at its removal from then on.
    """
    end, due_at = values.get("finished_at"), values.get("due_at")
    return due_at != values.get("expires_at") and end is not None and due_at == end + TIDY_DELAY


def _lease_attributes(lease: Lease | None) -> dict[str, Any]:
    # Two attributes, so that a heartbeat writes only the second and a transition need not touch it.
    if lease is None:
        return {}
    return {"lease": {"S": lease.worker_id}, "lease_until": time_of(lease.expires_at)}


def _lease(item: Item) -> Lease | None:
    if "lease" not in item:
        return None
    return Lease(WorkerId(item["lease"]["S"]), _time(item["lease_until"]))


def index_attributes(job: Job) -> dict[str, Any]:
    """The attributes by which the row is listed, found as due, and removed."""
    listed = {"listed_at": {"S": listed_at(job.queued_at, job.id)}}
    due = {"due_shard": {"S": due_shard(job)}} if job.due_at else {}
    # Without a TTL before the settlement, so that DynamoDB never removes a job that is not settled.
    if job.expires_at is None or job.settle_pending:
        return listed | due
    return listed | due | {"ttl": ttl_of(job.expires_at)}


def listed_at(queued_at: datetime, job_id: JobId) -> str:
    """A job's place in its owner's list: unique, and sorted by time."""
    naive = queued_at.astimezone(UTC).replace(tzinfo=None)
    return f"{naive.isoformat(timespec='microseconds')}Z#{job_id}"


# --- the history: one text per entry, its time counted from `queued_at` to keep the row small -----


def _entry_text(entry: HistoryEntry, queued_at: datetime) -> str:
    age = milliseconds(entry.at - queued_at)
    return f"{entry.version} {age} {entry.event} {entry.status} {entry.attempt}"


def _entry(text: str, queued_at: datetime) -> HistoryEntry:
    version, age, event, status, attempt = text.split(" ")[:5]  # a newer schema may add more
    at = queued_at + _span(age)
    return HistoryEntry(int(version), at, event, Status(status), int(attempt))


# --- how a field is written, by its annotation ----------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Kind:
    """How values of one type become an attribute, and back."""

    write: Callable[[Any], dict[str, Any]]
    read: Callable[[Mapping[str, Any]], Any]


def _enumeration(cls: type[StrEnum]) -> _Kind:
    return _Kind(lambda value: {"S": value.value}, lambda attribute: cls(attribute["S"]))


def _record(cls: type) -> _Kind:
    kinds = _kinds_of(cls)
    return _Kind(
        lambda value: {"M": _written_unless_default(kinds, value)},
        lambda attribute: cls(**_read(kinds, attribute["M"])),
    )


def _kinds_of(cls: Any, without: frozenset[str] = frozenset()) -> Mapping[str, _Kind]:
    """The kind of each field. None is a default and never written, so it needs no kind."""
    types = {field.name: str(field.type).removesuffix(" | None") for field in fields(cls)}
    return {name: _KINDS[type_] for name, type_ in types.items() if name not in without}


def _written_unless_default(kinds: Mapping[str, _Kind], value: Any) -> dict[str, Any]:
    cls: Any = type(value)
    defaults = _defaults(cls)
    present = {name: getattr(value, name) for name in kinds}
    return {
        name: kinds[name].write(part)
        for name, part in present.items()
        if name not in defaults or part != defaults[name]
    }


def _read(kinds: Mapping[str, _Kind], item: Item) -> dict[str, Any]:
    return {name: kind.read(item[name]) for name, kind in kinds.items() if name in item}


@cache
def _defaults(cls: Any) -> dict[str, Any]:
    plain = {f.name: f.default for f in fields(cls) if f.default is not MISSING}
    made = {f.name: f.default_factory() for f in fields(cls) if f.default_factory is not MISSING}
    return plain | made


# Values beyond these are damage. Arithmetic with values within them never overflows.
_LARGEST_NUMBER = 1e15
_LONGEST = timedelta(days=400_000)
_TIMES = (datetime(1970, 1, 1, tzinfo=UTC), datetime(3000, 1, 1, tzinfo=UTC))

_Number = TypeVar("_Number", int, float)


def _bounded(number: _Number) -> _Number:
    if not -_LARGEST_NUMBER <= number <= _LARGEST_NUMBER:
        raise ValueError("a number is too large")
    return number


def _time(attribute: Mapping[str, str]) -> datetime:
    time = read_time(attribute)
    if not _TIMES[0] <= time <= _TIMES[1]:
        raise ValueError("a time is out of range")
    return time


def _span(text: str) -> timedelta:
    span = timedelta_of(text)
    if abs(span) > _LONGEST:
        raise ValueError("a span of time is too long")
    return span


_TEXT = _Kind(lambda value: {"S": value}, lambda attribute: attribute["S"])
_KINDS: dict[str, _Kind] = {
    "str": _TEXT,
    "OwnerId": _TEXT,
    "UserId": _TEXT,
    "int": _Kind(lambda value: {"N": str(value)}, lambda attribute: _bounded(int(attribute["N"]))),
    "float": _Kind(
        lambda value: {"N": repr(float(value))},
        lambda attribute: _bounded(float(attribute["N"])),
    ),
    "bool": _Kind(lambda value: {"BOOL": value}, lambda attribute: attribute["BOOL"]),
    "datetime": _Kind(time_of, _time),
    "timedelta": _Kind(
        lambda value: {"N": milliseconds(value)}, lambda attribute: _span(attribute["N"])
    ),
    **{cls.__name__: _enumeration(cls) for cls in (Priority, Status, PictureFormat)},
}
_KINDS |= {cls.__name__: _record(cls) for cls in (Progress, JobError, PictureEncoding)}
_KINDS[JobOptions.__name__] = _record(JobOptions)  # it has a PictureEncoding

# The id is the partition key; the other two have a form of their own.
_KINDS_OF_JOB = _kinds_of(Job, without=frozenset({"id", "lease", "history"}))
# Written even with their default: conditions compare the last three, and `by_owner` needs `status`.
_ALWAYS_WRITTEN = ("schema", "status", "version", "attempt")
