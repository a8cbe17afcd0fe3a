"""The ports in memory: for unit tests and for trying things. One lock each; nothing is kept.

What a caller hands over is copied as JSON, so that what is read is what a real store would give.
"""

from __future__ import annotations

import json
import secrets
import time
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from threading import Condition, RLock
from typing import IO, Any
from urllib.parse import urlencode

from comfyline.domain.errors import (
    Conflict,
    ConnectionGone,
    LeaseLost,
    RequestTooLarge,
    TooManySubscriptions,
    Unavailable,
)
from comfyline.domain.events import Renewed, Watched
from comfyline.domain.ids import ConnectionId, JobId, KeyId, OwnerId, WorkerId
from comfyline.domain.job import (
    Artifact,
    Graph,
    Job,
    JobParams,
    JobRecord,
    Priority,
    Status,
)
from comfyline.domain.lifecycle import from_states
from comfyline.domain.scaling import Need
from comfyline.domain.totals import Totals, added, sums_of, totals_of
from comfyline.domain.workflow import canonical_json
from comfyline.metrics import Metric
from comfyline.ports import (
    ApiKey,
    Clock,
    Connection,
    Depths,
    Flags,
    FleetSize,
    Full,
    Limits,
    ListPosition,
    ModelMissing,
    Presence,
    Recent,
    SocketTicket,
    StoredUpload,
    Subscriber,
    Taken,
    Ticket,
    UploadForm,
    Usage,
    minute_of,
)

MODEL_CHUNK = 1024
MAX_BODY_BYTES = 399 * 1024  # compressed, as strict as the real store


class InMemoryJobStore:
    """`JobStore` in memory."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._jobs: dict[JobId, Job] = {}
        self._requests: dict[tuple[JobId, str], _Request] = {}
        self._artifacts: dict[str, _Made] = {}

    # --- a job's beginning ------------------------------------------------------------------------

    def put_request(self, job: Job, params: JobParams, graph: Graph) -> None:
        """See JobStore."""
        body = zlib.compress(canonical_json(graph))
        if len(body) > MAX_BODY_BYTES:
            raise RequestTooLarge(f"A request has at most {MAX_BODY_BYTES} bytes, compressed.")
        copied = _copied(params)
        with self._lock:
            self._requests[job.id, job.fingerprint] = _Request(job.queued_at, copied, body)

    def add(self, job: Job) -> Job | None:
        """See JobStore."""
        with self._lock:
            existing = self._jobs.setdefault(job.id, job)
        return None if existing == job else existing

    def replace(self, expired: Job, job: Job) -> None:
        """See JobStore."""
        with self._lock:
            current = self._jobs.get(job.id)
            if current is not None and current != job and not _is_same(current, expired):
                raise Conflict(current)
            self._jobs[job.id] = job

    # --- a job's changes --------------------------------------------------------------------------

    def save(self, before: Job, after: Job) -> Job:
        """See JobStore."""
        names = [f.name for f in fields(Job) if getattr(before, f.name) != getattr(after, f.name)]
        changes = {name: getattr(after, name) for name in names}
        with self._lock:
            current = self._jobs.get(before.id)
            if current is not None and _guard(current) == _guard(before):
                self._jobs[before.id] = replace(current, **changes)
                return self._jobs[before.id]
        if current is not None and _holds(current, after, changes):
            return current
        raise Conflict(current)

    def renew(self, job: Job, until: datetime) -> Job:
        """See JobStore."""
        with self._lock:
            current = self._jobs.get(job.id)
            if (
                current is None
                or current.lease is None
                or current.attempt_path != job.attempt_path
                or current.status not in from_states(Renewed)
            ):
                raise LeaseLost(f"attempt {job.attempt} no longer holds {job.id}")
            lease = replace(current.lease, expires_at=until)
            self._jobs[job.id] = replace(current, lease=lease)
            return self._jobs[job.id]

    def watch(self, job_id: JobId, until: datetime) -> Job | None:
        """See JobStore."""
        with self._lock:
            job = self._jobs.get(job_id)
            if job is None or job.status not in from_states(Watched):
                return job
            later = max(until, job.watched_until or until)
            self._jobs[job_id] = replace(job, watched_until=later)
            return self._jobs[job_id]

    def put_artifacts(self, job: Job, artifacts: Sequence[Artifact]) -> None:
        """See JobStore."""
        with self._lock:
            self._artifacts[job.attempt_path] = _Made(job.id, job.queued_at, tuple(artifacts))

    # --- reading ----------------------------------------------------------------------------------

    def get(self, job_id: JobId) -> Job | None:
        """See JobStore."""
        with self._lock:
            return self._jobs.get(job_id)

    def get_many(self, job_ids: Sequence[JobId]) -> list[Job]:
        """See JobStore."""
        with self._lock:
            return [self._jobs[job_id] for job_id in dict.fromkeys(job_ids) if job_id in self._jobs]

    def read(self, job_id: JobId) -> JobRecord | None:
        """See JobStore."""
        with self._lock:
            job = self._jobs.get(job_id)
            if job is None:
                return None
            record = self._record(job)
            if not job.lists_files:
                return record
            made = self._artifacts.get(job.attempt_path)
            return replace(record, artifacts=made.artifacts if made else ())

    def graph(self, job: Job) -> Graph:
        """See JobStore."""
        with self._lock:
            request = self._requests.get((job.id, job.fingerprint))
        if request is None:
            raise LookupError(f"{job.id} has no graph")
        graph: Graph = json.loads(zlib.decompress(request.graph))
        return graph

    def page(
        self, owner: OwnerId, *, status: Status | None, limit: int, after: ListPosition | None
    ) -> list[JobRecord]:
        """See JobStore."""
        with self._lock:
            listed = [
                job
                for job in self._jobs.values()
                if job.owner == owner
                and status in (None, job.status)
                and (after is None or _place(job) < (after.queued_at, after.job_id))
            ]
            newest = sorted(listed, key=_place, reverse=True)[:limit]
            return [self._record(job) for job in newest]

    def due(self, now: datetime, limit: int) -> list[Job]:
        """See JobStore."""
        with self._lock:
            due = [(job.due_at, job.id) for job in self._jobs.values() if job.due_at]
            first = [job_id for due_at, job_id in sorted(due) if due_at <= now][:limit]
            return [self._jobs[job_id] for job_id in first]

    def _record(self, job: Job) -> JobRecord:
        request = self._requests.get((job.id, job.fingerprint))
        return JobRecord(job, _copied(request.params) if request else JobParams(params={}))

    # --- a job's end ------------------------------------------------------------------------------

    def delete(self, job: Job) -> None:
        """See JobStore."""
        with self._lock:
            current = self._jobs.get(job.id)
            if current is not None and not _is_same(current, job):
                raise Conflict(current)
            self._jobs.pop(job.id, None)
            end = job.expires_at or job.queued_at + timedelta.resolution
            self._requests = {
                key: request
                for key, request in self._requests.items()
                if key[0] != job.id or request.queued_at >= end
            }
            self._artifacts = {
                key: made
                for key, made in self._artifacts.items()
                if made.job_id != job.id or made.queued_at >= end
            }


@dataclass(frozen=True, slots=True)
class _Request:
    queued_at: datetime
    params: JobParams
    graph: bytes


@dataclass(frozen=True, slots=True)
class _Made:
    job_id: JobId
    queued_at: datetime
    artifacts: tuple[Artifact, ...]


def _copied(params: JobParams) -> JobParams:
    return replace(params, params=_copy(params.params), metadata=_copy(params.metadata))


def _copy(value: Any) -> Any:
    return json.loads(canonical_json(value))


def _place(job: Job) -> tuple[datetime, JobId]:
    return job.queued_at, job.id


def _is_same(one: Job, other: Job) -> bool:
    """A version of one job; another job of the same id was queued at another time."""
    return (one.version, one.queued_at) == (other.version, other.queued_at)


def _guard(job: Job) -> tuple[datetime, int, int, Status]:
    return job.queued_at, job.version, job.attempt, job.status


def _holds(current: Job, after: Job, changes: dict[str, Any]) -> bool:
    """Everything that the change is about is so already, but for a heartbeat's new lease end."""
    same = all(getattr(current, name) == changes[name] for name in changes if name != "lease")
    return same and _guard(current) == _guard(after) and _holder(current) == _holder(after)


def _holder(job: Job) -> str | None:
    return job.lease.worker_id if job.lease else None


# --- tickets --------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Message:
    job_id: JobId
    owner: OwnerId
    visible_at: datetime
    sent_at: datetime
    receipt: str = ""  # of the latest delivery


class InMemoryJobQueue:
    """`JobQueue` in memory, oldest ticket first; a delivered one is hidden by the clock.

    It is its own `Backlog`.
    """

    def __init__(self, clock: Clock, *, visibility: timedelta = timedelta(seconds=120)) -> None:
        self._clock = clock
        self._visibility = visibility
        self._changed = Condition()
        self._lanes: dict[Priority, list[_Message]] = {lane: [] for lane in Priority}

    def send(self, job_id: JobId, owner: OwnerId, priority: Priority) -> None:
        """See JobQueue; no fairness."""
        with self._changed:
            self._lanes[priority].append(_Message(job_id, owner, self._clock(), self._clock()))
            self._changed.notify_all()

    def depth(self, priority: Priority) -> int:
        """See JobQueue."""
        with self._changed:
            now = self._clock()
            return sum(message.visible_at <= now for message in self._lanes[priority])

    def in_flight(self, priority: Priority) -> int:
        """See JobQueue."""
        with self._changed:
            now = self._clock()
            return sum(message.visible_at > now for message in self._lanes[priority])

    def receive(self, priority: Priority, *, wait_seconds: int, limit: int = 1) -> list[Ticket]:
        """See JobQueue; it waits in real time."""
        give_up_at = time.monotonic() + wait_seconds
        with self._changed:
            while not (tickets := self._delivered(priority, limit)):
                left = give_up_at - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(min(left, self._seconds_until_visible(priority)))
        return tickets

    def _delivered(self, priority: Priority, limit: int) -> list[Ticket]:
        now = self._clock()
        visible = [message for message in self._lanes[priority] if message.visible_at <= now]
        for message in visible[:limit]:
            message.visible_at = now + self._visibility
            message.receipt = secrets.token_hex(8)
        return [Ticket(m.job_id, priority, m.receipt) for m in visible[:limit]]

    def depths(self) -> Depths:
        """See Backlog; exact."""
        now = self._clock()
        with self._changed:
            times = [message.visible_at for lane in self._lanes.values() for message in lane]
        in_flight = sum(time > now for time in times)
        return Depths(waiting=len(times) - in_flight, in_flight=in_flight)

    def oldest_wait(self, now: datetime) -> timedelta:
        """See Backlog; exact."""
        with self._changed:
            sent = [message.sent_at for lane in self._lanes.values() for message in lane]
        return now - min(sent, default=now)

    def _seconds_until_visible(self, priority: Priority) -> float:
        now = self._clock()
        times = [(m.visible_at - now).total_seconds() for m in self._lanes[priority]]
        return max(min(times, default=60.0), 0.001)

    def hide(self, ticket: Ticket, seconds: int) -> None:
        """See JobQueue."""
        with self._changed:
            for message in self._lanes[ticket.priority]:
                if message.receipt == ticket.receipt and message.visible_at > self._clock():
                    message.visible_at = self._clock() + timedelta(seconds=seconds)
            self._changed.notify_all()

    def delete(self, ticket: Ticket) -> None:
        """See JobQueue."""
        with self._changed:
            lane = self._lanes[ticket.priority]
            lane[:] = [message for message in lane if message.receipt != ticket.receipt]


# --- files ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file as it was put."""

    body: bytes
    content_type: str


class InMemoryArtifactStore:
    """`ArtifactStore` in memory; `files` is what it holds, by key."""

    def __init__(self) -> None:
        self.files: dict[str, StoredFile] = {}
        self._lock = RLock()

    def put(self, key: str, body: IO[bytes], content_type: str) -> None:
        """See ArtifactStore."""
        stored = StoredFile(body.read(), content_type)
        with self._lock:
            self.files[key] = stored

    def sign(self, key: str, *, name: str, seconds: int) -> str:
        """See ArtifactStore; nothing answers at this URL."""
        return f"memory:///{key}?{urlencode({'name': name, 'seconds': seconds})}"

    def delete_prefix(self, prefix: str) -> None:
        """See ArtifactStore."""
        with self._lock:
            for key in [key for key in self.files if key.startswith(prefix)]:
                del self.files[key]


# --- sockets --------------------------------------------------------------------------------------


class InMemoryConnectionStore:
    """`ConnectionStore` in memory."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._open: dict[ConnectionId, Connection] = {}
        self._followers: defaultdict[JobId, dict[ConnectionId, _Subscription]] = defaultdict(dict)

    def open(self, connection: Connection) -> None:
        """See ConnectionStore."""
        with self._lock:
            self._open[connection.id] = connection

    def get(self, connection_id: ConnectionId) -> Connection | None:
        """See ConnectionStore."""
        with self._lock:
            return self._open.get(connection_id)

    def close(self, connection_id: ConnectionId) -> None:
        """See ConnectionStore."""
        with self._lock:
            self._open.pop(connection_id, None)
            for followers in self._followers.values():
                followers.pop(connection_id, None)

    def subscribe(
        self, connection: Connection, job_id: JobId, *, since: datetime, limit: int
    ) -> None:
        """See ConnectionStore."""
        with self._lock:
            if connection.id not in self._open:
                raise ConnectionGone(connection.id)
            others = sum(
                connection.id in followers
                for job, followers in self._followers.items()
                if job != job_id
            )
            if others >= limit:
                raise TooManySubscriptions(limit)
            subscription = _Subscription(since, connection.expires_at)
            self._followers[job_id][connection.id] = subscription

    def unsubscribe(self, connection_id: ConnectionId, job_id: JobId) -> None:
        """See ConnectionStore."""
        with self._lock:
            self._followers[job_id].pop(connection_id, None)

    def subscribers(self, job_id: JobId, now: datetime) -> list[Subscriber]:
        """See ConnectionStore."""
        with self._lock:
            found = sorted(self._followers[job_id].items())
        return [Subscriber(name, each.since) for name, each in found if each.expires_at > now]

    def by_key(self) -> Mapping[KeyId, Sequence[ConnectionId]]:
        """See ConnectionStore."""
        found: defaultdict[KeyId, list[ConnectionId]] = defaultdict(list)
        with self._lock:
            for connection in self._open.values():
                found[connection.key_id].append(connection.id)
        return found


@dataclass(frozen=True, slots=True)
class _Subscription:
    since: datetime
    expires_at: datetime


class InMemorySockets:
    """`Sockets` in memory: what each client was `sent`; a test says who is `gone` or `slow`."""

    def __init__(self) -> None:
        self.sent: defaultdict[ConnectionId, list[bytes]] = defaultdict(list)
        self.gone: set[ConnectionId] = set()
        self.slow: set[ConnectionId] = set()
        self.closed: set[ConnectionId] = set()
        self._lock = RLock()

    def post(self, connection_id: ConnectionId, message: bytes) -> None:
        """See Sockets."""
        with self._lock:
            if connection_id in self.gone | self.closed:
                raise ConnectionGone(connection_id)
            if connection_id in self.slow:
                raise Unavailable(f"{connection_id} is slow")
            self.sent[connection_id].append(message)

    def close(self, connection_id: ConnectionId) -> None:
        """See Sockets."""
        with self._lock:
            self.closed.add(connection_id)


# --- keys -----------------------------------------------------------------------------------------


class InMemoryKeyStore:
    """`KeyStore` in memory."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._flags = Flags()
        self._keys: dict[KeyId, ApiKey] = {}

    def get(self, key_id: KeyId) -> ApiKey | None:
        """See KeyStore."""
        with self._lock:
            return self._keys.get(key_id)

    def get_many(self, key_ids: Sequence[KeyId]) -> list[ApiKey]:
        """See KeyStore."""
        with self._lock:
            return [self._keys[key_id] for key_id in key_ids if key_id in self._keys]

    def put(self, key: ApiKey) -> None:
        """See KeyStore."""
        with self._lock:
            self._keys[key.id] = key

    def all(self) -> list[ApiKey]:
        """See KeyStore."""
        with self._lock:
            return sorted(self._keys.values(), key=lambda key: (key.created_at, key.id))

    def flags(self) -> Flags:
        """See KeyStore."""
        return self._flags

    def put_flags(self, flags: Flags) -> None:
        """See KeyStore."""
        self._flags = flags


class InMemorySocketTicketStore:
    """`SocketTicketStore` in memory."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._tickets: dict[str, SocketTicket] = {}

    def put(self, ticket: SocketTicket) -> None:
        """See SocketTicketStore."""
        with self._lock:
            self._tickets[ticket.sha256] = ticket

    def take(self, sha256: str) -> SocketTicket | None:
        """See SocketTicketStore."""
        with self._lock:
            return self._tickets.pop(sha256, None)


# --- owners ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Owner:
    slots: dict[JobId, datetime] = field(default_factory=dict)
    minute: int = 0
    posts: int = 0


class InMemoryOwnerStore:
    """`OwnerStore` in memory."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._owners: defaultdict[OwnerId, _Owner] = defaultdict(_Owner)

    def take_slot(
        self, owner: OwnerId, job_id: JobId, limits: Limits, now: datetime
    ) -> Taken | Full:
        """See OwnerStore."""
        cap, rate = limits.max_active_jobs, limits.jobs_per_minute
        minute = minute_of(now)
        with self._lock:
            row = self._owners[owner]
            is_new = job_id not in row.slots
            posts = row.posts if row.minute == minute else 0
            if is_new and cap is not None and len(row.slots) >= cap:
                return Full(dict(row.slots), by_rate=False)
            if rate is not None and posts >= rate:
                return Full(dict(row.slots), by_rate=True)
            row.slots[job_id], row.minute, row.posts = now, minute, posts + 1
            return Taken(is_new, now)

    def give_back(self, owner: OwnerId, job_id: JobId, taken: Taken) -> None:
        """See OwnerStore."""
        with self._lock:
            slots = self._owners[owner].slots
            if slots.get(job_id) == taken.at:
                del slots[job_id]

    def free_slot(self, owner: OwnerId, job_id: JobId, ended_at: datetime) -> None:
        """See OwnerStore."""
        with self._lock:
            slots = self._owners[owner].slots
            if job_id in slots and slots[job_id] <= ended_at:
                del slots[job_id]

    def slots(self, shard: int) -> list[tuple[OwnerId, Mapping[JobId, datetime]]]:
        """See OwnerStore; everything is in the first shard."""
        with self._lock:
            rows = self._owners.items() if shard == 0 else ()
            return [(owner, dict(row.slots)) for owner, row in rows if row.slots]


# --- what is counted ------------------------------------------------------------------------------


class InMemoryLedger:
    """`Ledger` in memory."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._counted: dict[tuple[JobId, str], Job] = {}

    def count(self, ended: Sequence[Job]) -> list[Job]:
        """See Ledger."""
        with self._lock:
            told = {(job.id, job.incarnation): job for job in ended}
            new = {key: job for key, job in told.items() if key not in self._counted}
            self._counted.update(new)
            return [*new.values()]

    def usage(self, owner: OwnerId) -> Usage:
        """See Ledger."""
        with self._lock:
            used = [j.gpu_seconds for j in self._counted.values() if j.owner == owner]
        return Usage(sum(used), sum(seconds > 0 for seconds in used))

    def totals(self) -> Totals:
        """See Ledger."""
        with self._lock:
            return totals_of(added(map(sums_of, self._counted.values())))


class InMemoryMetrics:
    """`Metrics` in memory: what was recorded, in order."""

    def __init__(self) -> None:
        self.recorded: list[tuple[Metric, float, Mapping[str, str]]] = []

    def record(self, metric: Metric, value: float = 1, **dimensions: str) -> None:
        """See Metrics."""
        assert set(dimensions) == ({metric.dimension} if metric.dimension else set())
        self.recorded.append((metric, value, dimensions))

    def sum(self, metric: Metric, **dimensions: str) -> float:
        """Of what was recorded of that metric with those dimensions."""
        return sum(value for one, value, of in self.recorded if (one, of) == (metric, dimensions))


class InMemoryAttendance:
    """`Attendance` in memory."""

    def __init__(self) -> None:
        self._said: dict[WorkerId, Presence] = {}

    def note(self, presence: Presence) -> None:
        """See Attendance."""
        self._said[presence.worker_id] = presence

    def present(self, now: datetime) -> list[Presence]:
        """See Attendance."""
        return [presence for presence in list(self._said.values()) if presence.until > now]


# --- uploads --------------------------------------------------------------------------------------


class InMemoryUploadStore:
    """`UploadStore` in memory; `files` is what has arrived, by key, and `bodies` its bytes."""

    def __init__(self) -> None:
        self.files: dict[str, StoredUpload] = {}
        self.bodies: dict[str, bytes] = {}

    def offer(
        self, key: str, *, content_type: str, size: int, sha256: str | None, seconds: int
    ) -> UploadForm:
        """See UploadStore; nothing answers at this URL."""
        said = {"Content-Type": content_type, "size": str(size), "seconds": str(seconds)}
        return UploadForm("memory:///", {"key": key, **said, "sha256": sha256 or ""})

    def look(self, key: str) -> StoredUpload | None:
        """See UploadStore."""
        return self.files.get(key)

    def fetch(self, key: str, into: IO[bytes]) -> StoredUpload | None:
        """See UploadStore."""
        stored = self.files.get(key)
        if stored is not None:
            into.write(self.bodies[key])
        return stored


class InMemoryModelStore:
    """`ModelStore` in memory; `files` is what lies there, by key."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def read(self, key: str) -> Iterator[bytes]:
        """See ModelStore; in chunks that tests can count."""
        if key not in self.files:
            raise ModelMissing(key)
        body = self.files[key]
        for start in range(0, len(body), MODEL_CHUNK):
            yield body[start : start + MODEL_CHUNK]


class InMemoryFleet:
    """`Fleet` in memory; `started` says how many of the desired workers are up."""

    def __init__(self) -> None:
        self._desired = 0
        self.started = 0

    def size(self) -> FleetSize:
        """See Fleet."""
        return FleetSize(desired=self._desired, running=self.started)

    def resize(self, workers: int) -> None:
        """See Fleet."""
        self._desired = workers


class InMemoryScalingMemory:
    """`ScalingMemory` in memory."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._recent = Recent()

    def load(self) -> Recent:
        """See ScalingMemory."""
        return self._recent

    def save(self, needs: Sequence[Need], version: int) -> bool:
        """See ScalingMemory."""
        with self._lock:
            if self._recent.version != version:
                return False
            self._recent = Recent(tuple(needs), version + 1)
            return True
