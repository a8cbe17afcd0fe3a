"""Jobs as items of the jobs table, and back.

Rule: a row holds, always, what conditions and indexes need, and beyond that only what differs from
a new job, for every update is charged by the size of the whole row. A reader ignores what it does
not know and defaults what it misses, which makes one schema older and one newer readable.

Times are milliseconds since the epoch, with the microseconds as decimals: nothing is lost, and
what was written equals what is read.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypeVar, cast

from comfyline.contract.ids import JobId, WorkerId
from comfyline.service.graphs.graph import canonical_json
from comfyline.service.jobs.due import TIDY_DELAY
from comfyline.service.jobs.job import (
    SCHEMA,
    Artifact,
    Graph,
    HistoryEntry,
    Job,
    JobError,
    JobParams,
    Lease,
    PictureEncoding,
    PictureFormat,
    Priority,
    Status,
)
from comfyline.service.jobs.progress import Progress

DUE_SHARDS = 16  # spreads the sweeper's index, which every queued and leased job is in
TTL_MARGIN = timedelta(days=1)  # the sweeper removes a record first; the TTL is its backstop

_T = TypeVar("_T")

Item = Mapping[str, Any]  # as the low-level client has it: {"name": {"S": "value"}}

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class UnsupportedSchema(ValueError):
    """The row was written by code that is too old or too new to be understood."""


# --- the row --------------------------------------------------------------------------------------


def item_of(job: Job) -> dict[str, Any]:
    """The row of `job`, but for its sort key."""
    lines = [{"S": _line(entry, job.queued_at)} for entry in job.history]
    return {
        "pk": {"S": job.id},
        "listed_at": {"S": listed_at(job.queued_at, job.id)},
        **{name: kind.write(getattr(job, name)) for name, kind in _ALWAYS.items()},
        **_written_unless_default(_UNLESS_DEFAULT, job),
        **({"history": {"L": lines}} if lines else {}),
        **_lease_attributes(job.lease),
        **_index_attributes(job),
    }


def job_of(item: Item) -> Job:
    """The job of a row, from the table or from an image in its stream.

    Raises:
        UnsupportedSchema: it is neither ours nor the one before or after.
    """
    schema = _INTEGER.read(item["schema"])
    if abs(schema - SCHEMA) > 1:
        raise UnsupportedSchema(f"{item['pk']['S']} has schema {schema}, this code has {SCHEMA}")
    values = _read(_ALWAYS, item) | _read(_UNLESS_DEFAULT, item)
    values.setdefault("tidy_pending", _tidy_pending_of_older_row(values))
    lines = item.get("history", {"L": []})["L"]
    return Job(
        id=JobId(item["pk"]["S"]),
        lease=_lease(item),
        history=tuple(_entry(line["S"], values["queued_at"]) for line in lines),
        **values,
    )


def _tidy_pending_of_older_row(values: Mapping[str, Any]) -> bool:
    """Whether the void files of an ended job are yet to be removed, from its due time.

    Code that did not know the attribute yet may have written the job's end. Such a row is due
    TIDY_DELAY after the end until its files are removed, and at its removal from then on.
    """
    end, due_at = values.get("finished_at"), values.get("due_at")
    return due_at != values.get("expires_at") and end is not None and due_at == end + TIDY_DELAY


def _lease_attributes(lease: Lease | None) -> dict[str, Any]:
    # Two attributes, so that a heartbeat sets the second and a transition need not touch it.
    if lease is None:
        return {}
    return {"lease": {"S": lease.worker_id}, "lease_until": _TIME.write(lease.expires_at)}


def _lease(item: Item) -> Lease | None:
    if "lease" not in item:
        return None
    return Lease(WorkerId(item["lease"]["S"]), _TIME.read(item["lease_until"]))


def _index_attributes(job: Job) -> dict[str, Any]:
    due = {"due_shard": {"S": _due_shard(job.id)}} if job.due_at else {}
    ttl = {"ttl": ttl_of(job.expires_at + TTL_MARGIN)} if job.expires_at else {}
    return due | ttl


def listed_at(queued_at: datetime, job_id: JobId) -> str:
    """A job's place in its owner's list: unique, and in the order of time."""
    naive = queued_at.astimezone(UTC).replace(tzinfo=None)
    return f"{naive.isoformat(timespec='microseconds')}Z#{job_id}"


def _due_shard(job_id: JobId) -> str:
    return str(zlib.crc32(job_id.encode()) % DUE_SHARDS)


def ttl_of(time: datetime) -> dict[str, str]:
    """A TTL attribute: DynamoDB takes whole seconds since the epoch."""
    return {"N": str(math.ceil(time.timestamp()))}


def read_ttl(attribute: Mapping[str, str]) -> datetime:
    """The time in a TTL attribute."""
    return datetime.fromtimestamp(int(attribute["N"]), UTC)


def time_of(time: datetime) -> dict[str, str]:
    """A time as an attribute."""
    return {"N": _milliseconds(time - _EPOCH)}


def read_time(attribute: Mapping[str, str]) -> datetime:
    """The time in an attribute."""
    return _EPOCH + _timedelta(attribute["N"])


# --- the history: one line of text for each change, its time counted from `queued_at` -------------


def _line(entry: HistoryEntry, queued_at: datetime) -> str:
    age = _milliseconds(entry.at - queued_at)
    return f"{entry.version} {age} {entry.event} {entry.status} {entry.attempt}"


def _entry(line: str, queued_at: datetime) -> HistoryEntry:
    version, age, event, status, attempt = line.split(" ")[:5]
    at = queued_at + _timedelta(age)
    return HistoryEntry(int(version), at, event, Status(status), int(attempt))


def _milliseconds(span: timedelta) -> str:
    microseconds = span // timedelta(microseconds=1)
    return format(Decimal(microseconds).scaleb(-3).normalize(), "f")


def _timedelta(milliseconds: str) -> timedelta:
    return timedelta(microseconds=int(Decimal(milliseconds).scaleb(3)))


# --- the sibling items ----------------------------------------------------------------------------


def pack(value: Any) -> bytes:
    """JSON in little room; equal values give equal bytes."""
    return zlib.compress(canonical_json(value))


def unpack(body: bytes) -> Any:
    """What was packed."""
    return json.loads(zlib.decompress(body))


def packed_params(params: JobParams) -> bytes:
    """What was asked, for its sibling item."""
    return pack(asdict(params))


def unpacked_params(body: bytes) -> JobParams:
    """What was asked."""
    return _known(JobParams, unpack(body))


def packed_request(params: JobParams, graph: Graph) -> bytes:
    """What was asked and what it was compiled to, for one item; read by `unpacked_params` too."""
    return pack({**asdict(params), "graph": graph})


def unpacked_graph(body: bytes) -> Graph:
    """The graph of a whole request."""
    return cast(Graph, unpack(body)["graph"])


def packed_artifacts(artifacts: Sequence[Artifact]) -> bytes:
    """An attempt's artifact list, for its sibling item."""
    return pack([asdict(artifact) for artifact in artifacts])


def unpacked_artifacts(body: bytes) -> tuple[Artifact, ...]:
    """An attempt's artifact list."""
    return tuple(_known(Artifact, values) for values in unpack(body))


def _known(cls: Callable[..., _T], values: Mapping[str, Any]) -> _T:
    names = {field.name for field in fields(cast(Any, cls))}
    return cls(**{name: value for name, value in values.items() if name in names})


# --- how each field is written --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Kind:
    """How values of one kind become an attribute, and back."""

    write: Callable[[Any], dict[str, Any]]
    read: Callable[[Mapping[str, Any]], Any]


def _enumeration(cls: type[StrEnum]) -> _Kind:
    return _Kind(lambda value: {"S": value.value}, lambda attribute: cls(attribute["S"]))


def _record(cls: type, kinds: Mapping[str, _Kind]) -> _Kind:
    return _Kind(
        lambda value: {"M": _written_unless_default(kinds, value)},
        lambda attribute: cls(**_read(kinds, attribute["M"])),
    )


def _written_unless_default(kinds: Mapping[str, _Kind], value: Any) -> dict[str, Any]:
    defaults = _defaults(type(value))
    present = {name: getattr(value, name) for name in kinds}
    return {
        name: kinds[name].write(part)
        for name, part in present.items()
        if name not in defaults or part != defaults[name]
    }


def _read(kinds: Mapping[str, _Kind], item: Item) -> dict[str, Any]:
    return {name: kind.read(item[name]) for name, kind in kinds.items() if name in item}


def _defaults(cls: Any) -> dict[str, Any]:
    plain = {f.name: f.default for f in fields(cls) if f.default is not MISSING}
    made = {f.name: f.default_factory() for f in fields(cls) if f.default_factory is not MISSING}
    return plain | made


_TEXT = _Kind(lambda value: {"S": value}, lambda attribute: attribute["S"])
_INTEGER = _Kind(lambda value: {"N": str(value)}, lambda attribute: int(attribute["N"]))
_REAL = _Kind(lambda value: {"N": repr(float(value))}, lambda attribute: float(attribute["N"]))
_FLAG = _Kind(lambda value: {"BOOL": value}, lambda attribute: attribute["BOOL"])
_TIME = _Kind(time_of, read_time)
_SPAN = _Kind(
    lambda value: {"N": _milliseconds(value)}, lambda attribute: _timedelta(attribute["N"])
)

_ALWAYS: Mapping[str, _Kind] = {
    "schema": _INTEGER,
    "owner": _TEXT,
    "fingerprint": _TEXT,
    "priority": _enumeration(Priority),
    "queued_at": _TIME,
    "start_deadline": _TIME,
    "execution_timeout": _SPAN,
    "retention": _SPAN,
    "status": _enumeration(Status),
    "version": _INTEGER,
    "attempt": _INTEGER,
}

_PROGRESS = _record(
    Progress,
    {
        "fraction": _REAL,
        "node": _TEXT,
        "node_type": _TEXT,
        "step": _INTEGER,
        "steps": _INTEGER,
        "nodes_done": _INTEGER,
        "nodes_total": _INTEGER,
        "message": _TEXT,
    },
)

_ERROR = _record(
    JobError,
    {"type": _TEXT, "message": _TEXT, "node_id": _TEXT, "node_type": _TEXT, "attempt": _INTEGER},
)

_UNLESS_DEFAULT: Mapping[str, _Kind] = {
    "request_id": _TEXT,
    "output": _record(
        PictureEncoding, {"format": _enumeration(PictureFormat), "quality": _INTEGER}
    ),
    "wants_previews": _FLAG,
    "has_slot": _FLAG,
    "failures": _INTEGER,
    "interruptions": _INTEGER,
    "ticket_sends": _INTEGER,
    "cancel_requested_at": _TIME,
    "started_at": _TIME,
    "attempt_started_at": _TIME,
    "finished_at": _TIME,
    "expires_at": _TIME,
    "due_at": _TIME,
    "tidy_pending": _FLAG,
    "watched_until": _TIME,
    "progress": _PROGRESS,
    "stored": _INTEGER,
    "previewed": _INTEGER,
    "error": _ERROR,
    "cached": _FLAG,
    "gpu_seconds": _REAL,
}
