"""What the use cases need from the world, by role. Synchronous; adapters are thread-safe.

`memory.py` and `aws/` implement these and are judged by the same contract tests. An adapter
translates its technology's errors once, at the call: what may work later becomes `Unavailable`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import IO, TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # a function that knows no jobs need not read what they are
    from comfyline.domain.ids import ConnectionId, JobId, KeyId, OwnerId, WorkerId
    from comfyline.domain.job import Artifact, Graph, Job, JobParams, JobRecord, Priority, Status
    from comfyline.domain.scaling import Need
    from comfyline.domain.totals import Totals
    from comfyline.metrics import Metric

Clock = Callable[[], datetime]  # aware, UTC


@dataclass(frozen=True, slots=True)
class ListPosition:
    """Where a page of an owner's jobs ended; the next one begins after it."""

    queued_at: datetime
    job_id: JobId


class JobStore(Protocol):
    """Jobs and their sibling items.

    Every read by id is consistent: it sees every earlier write. What `page` and `due` find may lag
    by moments, but each row they give is as it is now.
    """

    def put_request(self, job: Job, params: JobParams, graph: Graph) -> None:
        """Store what `job` was asked, under its id and fingerprint, unconditionally.

        It comes before `add`: names are content-addressed, so it cannot clash, and what no job
        claims is removed in time.

        Raises:
            RequestTooLarge: the compressed graph does not fit into one item.
        """

    def add(self, job: Job) -> Job | None:
        """Store a new job unless its id is taken, by one conditional write.

        Returns None when it was added, else the job that has the id.
        """

    def replace(self, expired: Job, job: Job) -> None:
        """Put `job` in the place of a record whose retention is over, or that is gone by now.

        Raises:
            Conflict: another job is in its place; never without it.
        """

    def save(self, before: Job, after: Job) -> Job:
        """Write what differs, provided the row is of the same job as `before`, not a later one of
        its id, and still has its version, attempt and status.

        Saving the same change twice succeeds (the answer of the first may have been lost).
        Returns the row as stored: a concurrent heartbeat or watch is in it.

        Raises:
            Conflict: with the row as it is now.
        """

    def renew(self, job: Job, until: datetime) -> Job:
        """Extend the lease of the job's attempt; the answer carries the cancel flag.

        Raises:
            LeaseLost: that attempt no longer holds the job.
        """

    def watch(self, job_id: JobId, until: datetime) -> Job | None:
        """Note that somebody follows the job until then, never shortening an earlier note.

        Returns the row after it, unchanged if it is terminal, or None.
        """

    def get(self, job_id: JobId) -> Job | None:
        """The row alone."""

    def get_many(self, job_ids: Sequence[JobId]) -> list[Job]:
        """The rows that exist among these, each once, in no promised order."""

    def read(self, job_id: JobId) -> JobRecord | None:
        """The row with what was asked and, if it succeeded, its artifacts; not the graph."""

    def graph(self, job: Job) -> Graph:
        """The compiled graph of `job`, as it was put.

        Raises:
            LookupError: there is none.
        """

    def put_artifacts(self, job: Job, artifacts: Sequence[Artifact]) -> None:
        """Store the artifact list of the job's attempt; what the row says of it makes it count."""

    def page(
        self, owner: OwnerId, *, status: Status | None, limit: int, after: ListPosition | None
    ) -> list[JobRecord]:
        """Up to `limit` of the owner's jobs, newest first, at a cost that does not grow.

        Artifacts are left out.
        """

    def due(self, now: datetime, limit: int) -> list[Job]:
        """Up to `limit` jobs whose due time has come, most overdue first within a shard."""

    def delete(self, job: Job) -> None:
        """Remove the row, provided it is still this version, then its sibling items.

        A later job of the same id keeps its own. Deleting twice is no error.

        Raises:
            Conflict: it has changed.
        """


@dataclass(frozen=True, slots=True)
class Ticket:
    """One delivery of one message: which job to look at, and the handle of this delivery.

    `trace_id` is that of the request that sent it, where that was traced.
    """

    job_id: JobId
    priority: Priority
    receipt: str
    trace_id: str | None = None


class JobQueue(Protocol):
    """Tickets in three lanes. At least once, in no particular order."""

    def send(self, job_id: JobId, owner: OwnerId, priority: Priority) -> None:
        """Queue a ticket; `owner` is what the queue is fair between.

        Raises:
            Unavailable: the queue is out of reach.
        """

    def depth(self, priority: Priority) -> int:
        """About how many tickets of the lane wait for a worker."""

    def in_flight(self, priority: Priority) -> int:
        """About how many tickets of the lane are in the hands of workers."""

    def receive(self, priority: Priority, *, wait_seconds: int, limit: int = 1) -> list[Ticket]:
        """Up to `limit` tickets of one lane, waiting up to `wait_seconds` for the first.

        A message that is no ticket is removed and logged, never returned.
        """

    def hide(self, ticket: Ticket, seconds: int) -> None:
        """Keep the ticket from everybody for that long from now; 0 hands it back at once.

        No error if the delivery is over: whoever has the ticket now decides about it.
        """

    def delete(self, ticket: Ticket) -> None:
        """Done with it; no error if the delivery is over."""


class DeadLetters(Protocol):
    """Tickets that were delivered too often."""

    def receive(self, limit: int) -> list[tuple[JobId | None, str]]:
        """Up to `limit` of them: the job, None if it cannot be read, and a receipt."""

    def delete(self, receipt: str) -> None:
        """Done with one."""


class ArtifactStore(Protocol):
    """Output files, under the prefix of their job and attempt."""

    def put(self, key: str, body: IO[bytes], content_type: str) -> None:
        """Store a file; the same key again overwrites it."""

    def sign(self, key: str, *, name: str, seconds: int) -> str:
        """A URL that fetches the file, under `name`, for that long. Makes no call."""

    def delete_prefix(self, prefix: str) -> None:
        """Remove every file under `prefix`."""


@dataclass(frozen=True, slots=True)
class UploadForm:
    """A form that a browser or a client posts, with the file as its last field."""

    url: str
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class StoredUpload:
    """An upload that has arrived."""

    content_type: str
    bytes: int
    stored_at: datetime


class UploadStore(Protocol):
    """Files that callers send for their jobs to use."""

    def offer(
        self, key: str, *, content_type: str, size: int, sha256: str | None, seconds: int
    ) -> UploadForm:
        """A form that stores exactly one file of that type and size at `key`, for that long.

        Makes no call.
        """

    def look(self, key: str) -> StoredUpload | None:
        """What lies at `key`, None if nothing has arrived."""

    def fetch(self, key: str, into: IO[bytes]) -> StoredUpload | None:
        """Write the file at `key` into `into`; None if there is none."""


class ModelMissing(Exception):
    """Nothing lies at the key, or it may not be read: S3 does not tell one from the other."""


class ModelStore(Protocol):
    """The engine's models, large and never changed."""

    def read(self, key: str) -> Iterator[bytes]:
        """The file at `key`, in chunks of at most a few MiB.

        Raises:
            ModelMissing: there is nothing to read; raised by the first chunk.
            Unavailable: out of reach, also in the middle.
        """


@dataclass(frozen=True, slots=True)
class Taken:
    """A slot that was taken: whether it was free before, and the time that it now bears."""

    is_new: bool
    at: datetime


@dataclass(frozen=True, slots=True)
class Full:
    """No slot was taken: the slots that are, each with its time, and which bound was met."""

    slots: Mapping[JobId, datetime]
    by_rate: bool


@dataclass(frozen=True, slots=True)
class Limits:
    """What a key allows its owner; None: no bound."""

    max_active_jobs: int | None = None
    jobs_per_minute: int | None = None


def minute_of(now: datetime) -> int:
    """The minute that a post is counted in."""
    return int(now.timestamp()) // 60


class OwnerStore(Protocol):
    """One row of named slots for each owner that has a limit."""

    def take_slot(
        self, owner: OwnerId, job_id: JobId, limits: Limits, now: datetime
    ) -> Taken | Full:
        """Take the slot of that name and count the post, by one conditional write.

        A slot that is taken already is taken again and bears the new time, however full it is.
        Minutes are of the clock: a burst may meet two of them.
        """

    def give_back(self, owner: OwnerId, job_id: JobId, taken: Taken) -> None:
        """Free a slot that turned out not to be needed, if it still bears that time."""

    def free_slot(self, owner: OwnerId, job_id: JobId, ended_at: datetime) -> None:
        """The job has ended: free its slot, unless a later job of the same id has taken it."""

    def slots(self, shard: int) -> list[tuple[OwnerId, Mapping[JobId, datetime]]]:
        """The taken slots of every owner of a shard, 0 to OWNER_SHARDS - 1."""


OWNER_SHARDS = 4  # each is a partition of its own; the sweeper looks at all of them every minute


@dataclass(frozen=True, slots=True)
class Usage:
    """What an owner's jobs have used, of those that have ended."""

    gpu_seconds: float = 0.0
    jobs: int = 0


class Ledger(Protocol):
    """What ended jobs come to, for their owners and for the whole service."""

    def count(self, ended: Sequence[Job]) -> list[Job]:
        """Count ended jobs, each once however often and by however many it is told.

        Returns those that were new. In an owner's usage are those that used a GPU.

        Raises:
            Unavailable: some may not be counted; the same call may be made again.
        """

    def usage(self, owner: OwnerId) -> Usage:
        """What the owner's jobs have used."""

    def totals(self) -> Totals:
        """Of all jobs."""


class Metrics(Protocol):
    """Takes what is measured while it happens."""

    def record(self, metric: Metric, value: float = 1, **dimensions: str) -> None:
        """Note a fact, at once and from any thread.

        `dimensions` has what the metric names as its dimension, and nothing else.
        """


@dataclass(frozen=True, slots=True)
class Presence:
    """A worker that is up: how many jobs its GPU runs, and until when that is taken for true."""

    worker_id: WorkerId
    running: int
    until: datetime


class Attendance(Protocol):
    """Which workers are up, by what they say of themselves."""

    def note(self, presence: Presence) -> None:
        """Remember it in place of what that worker said before."""

    def present(self, now: datetime) -> list[Presence]:
        """Every worker whose word still holds; read consistently."""


@dataclass(frozen=True, slots=True)
class Connection:
    """An open WebSocket and whose it is."""

    id: ConnectionId
    owner: OwnerId
    key_id: KeyId
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Subscriber:
    """A socket that follows a job, and since when."""

    id: ConnectionId
    since: datetime


class ConnectionStore(Protocol):
    """Open sockets and what each follows. Every read by a name is consistent."""

    def open(self, connection: Connection) -> None:
        """Remember a socket."""

    def get(self, connection_id: ConnectionId) -> Connection | None:
        """The socket, unless it was closed."""

    def close(self, connection_id: ConnectionId) -> None:
        """Forget the socket and all that it follows; closing twice is no error."""

    def subscribe(
        self, connection: Connection, job_id: JobId, *, since: datetime, limit: int
    ) -> None:
        """From now on the socket is among the job's subscribers; twice is once.

        Raises:
            ConnectionGone: the socket was closed.
            TooManySubscriptions: it follows `limit` other jobs already.
        """

    def unsubscribe(self, connection_id: ConnectionId, job_id: JobId) -> None:
        """No longer; also when it never was."""

    def subscribers(self, job_id: JobId, now: datetime) -> list[Subscriber]:
        """Every socket that follows the job and can still be open."""

    def by_key(self) -> Mapping[KeyId, Sequence[ConnectionId]]:
        """Every open socket, by the key that it was opened with.

        It may lag by moments, at a cost that grows with the open sockets alone.
        """


class Sockets(Protocol):
    """The way to the clients behind open sockets."""

    def post(self, connection_id: ConnectionId, message: bytes) -> None:
        """Deliver one message.

        Raises:
            ConnectionGone: the client has left, or its `$connect` has not returned yet.
            Unavailable: the client is slow or the gateway throttles.
        """

    def close(self, connection_id: ConnectionId) -> None:
        """Hang up; no error if the client has left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key as it is stored: never the secret itself."""

    id: KeyId
    secret_sha256: str
    owner: OwnerId
    scopes: frozenset[str]
    created_at: datetime
    expires_at: datetime | None = None
    disabled: bool = False
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Flags:
    """What an operator can switch off."""

    jobs_enabled: bool = True
    websocket_enabled: bool = True


class KeyStore(Protocol):
    """API keys, and the operator's switches beside them."""

    def get(self, key_id: KeyId) -> ApiKey | None:
        """The key, read consistently: a disabling counts at once."""

    def get_many(self, key_ids: Sequence[KeyId]) -> list[ApiKey]:
        """The keys that exist among these, which are distinct; read consistently, in no order."""

    def put(self, key: ApiKey) -> None:
        """Store or replace a key."""

    def all(self) -> list[ApiKey]:
        """Every key, oldest first."""

    def flags(self) -> Flags:
        """The switches, read consistently; all on if nobody has touched them."""

    def put_flags(self, flags: Flags) -> None:
        """Set the switches."""


@dataclass(frozen=True, slots=True)
class SocketTicket:
    """Leave to open one socket, for a client that cannot send a header."""

    sha256: str  # of the ticket; the ticket itself is told once and not kept
    owner: OwnerId
    key_id: KeyId
    expires_at: datetime


class SocketTicketStore(Protocol):
    """Tickets that have not been used."""

    def put(self, ticket: SocketTicket) -> None:
        """Store a ticket."""

    def take(self, sha256: str) -> SocketTicket | None:
        """Remove the ticket and return it: of two that take it, one gets it."""


@dataclass(frozen=True, slots=True)
class Depths:
    """Tickets of all lanes together; both counts may lag behind by moments."""

    waiting: int  # no worker has them
    in_flight: int  # workers have them


class Backlog(Protocol):
    """What the lanes hold, from outside."""

    def depths(self) -> Depths:
        """How many tickets there are now."""

    def oldest_wait(self, now: datetime) -> timedelta:
        """How long the oldest ticket has been there; it may be one that a worker has.

        Minutes old at worst, and nothing where nothing is known.
        """


@dataclass(frozen=True, slots=True)
class FleetSize:
    """The workers that should be, and those that are up."""

    desired: int
    running: int


class Fleet(Protocol):
    """The workers, as their platform sees them."""

    def size(self) -> FleetSize:
        """How many there are."""

    def resize(self, workers: int) -> None:
        """Ask for that many; protected ones stay until they are done."""


@dataclass(frozen=True, slots=True)
class Recent:
    """What the scaler remembers; `version` is 0 before it has ever remembered anything."""

    needs: tuple[Need, ...] = ()
    version: int = 0


class ScalingMemory(Protocol):
    """What the scaler needs to know the next time. Reads are consistent."""

    def load(self) -> Recent:
        """What was saved last."""

    def save(self, needs: Sequence[Need], version: int) -> bool:
        """Replace what has that version; False if another round of the scaler was faster."""
