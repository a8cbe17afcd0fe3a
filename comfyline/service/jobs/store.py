"""The store of jobs. Every change is one conditional write: of two concurrent writers, one succeeds
and the other receives the current row.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from comfyline.service.errors import ComfylineError
from comfyline.service.jobs.job import SCHEMA

if TYPE_CHECKING:
    from comfyline.contract.ids import JobId, OwnerId
    from comfyline.service.graphs.graph import Graph
    from comfyline.service.jobs.job import Job, JobParams, JobRecord, Status
    from comfyline.service.jobs.result import Artifact, JobResult


# Jobs that are due are found in shards, which the sweeper reads side by side. A job is in one of
# the first from its post to its settlement, and in one of the others from then on. They are apart
# so that no number of removals delays the sweeper's work for live jobs. Each shard is a partition
# of an index and takes 1,000 writes a second, so all of them take some 3,000 new jobs a second.
LIVE_SHARDS = 16
SETTLED_SHARDS = 4


# Due jobs of one shard that are read for their owners: 80,000 in all shards of live jobs.
MAX_DUE_SEEN = 5_000


@dataclass(frozen=True, slots=True)
class Work:
    """A job's row, and what a worker runs. A part that is None must be read by its own method."""

    job: Job
    graph: Graph | None = None
    extra_pnginfo: Mapping[str, Any] | None = None

    def of(self, job: Job) -> Work:
        """The same for a later row of the job. Another job of the same id has another request."""
        is_same = (job.queued_at, job.fingerprint) == (self.job.queued_at, self.job.fingerprint)
        return replace(self, job=job) if is_same else Work(job)


def due_shards(*, settled: bool) -> list[str]:
    """The shards of settled jobs, or of all other jobs.

    Rows that ended before the two were apart stay in the shards of live jobs until they are
    removed.
    """
    if settled:
        return [f"settled-{n}" for n in range(SETTLED_SHARDS)]
    return [str(n) for n in range(LIVE_SHARDS)]


def due_shard(job: Job) -> str:
    """The shard in which the job is found when it is due."""
    shards = due_shards(settled=job.is_settled)
    return shards[zlib.crc32(job.id.encode()) % len(shards)]


# A row that code of this schema cannot read is moved here, out of the way. Code of another
# schema may be able to read it, so it looks here too: after an update or a rollback, the rows that
# the code before could not read are handled without an operator.
_QUARANTINE = "unreadable-{schema}"
_NEAR_SCHEMAS = 3


def quarantine() -> str:
    """The shard of rows that this code cannot read."""
    return _QUARANTINE.format(schema=SCHEMA)


def other_quarantines() -> list[str]:
    """The shards of rows that code of other schemas could not read."""
    near = range(max(SCHEMA - _NEAR_SCHEMAS, 1), SCHEMA + _NEAR_SCHEMAS + 1)
    return [_QUARANTINE.format(schema=schema) for schema in near if schema != SCHEMA]


def quarantines() -> list[str]:
    """The shards of rows that code of any schema could not read."""
    return [quarantine(), *other_quarantines()]


@dataclass(frozen=True, slots=True)
class UnreadableRow:
    """A row that this code cannot read, and the shard in which it was due."""

    id: JobId
    shard: str
    reason: str


@dataclass(frozen=True, slots=True)
class ListPosition:
    """The last job of a page of an owner's jobs; the next page begins after it."""

    queued_at: datetime
    job_id: JobId


@dataclass(frozen=True, slots=True, order=True)
class LivePosition:
    """The place of a job among all that have not ended: when the sweeper must look at it, and id.

    That time moves while the job lives, nearly always forward.
    """

    due_at: datetime
    job_id: JobId


class Conflict(ComfylineError):
    """Another process changed the row first.

    `current` is the row after that change, or None if the row was deleted. The use case can decide
    again without reading the row.
    """

    def __init__(self, current: Job | None) -> None:
        super().__init__()
        self.current = current


class JobStore(Protocol):
    """Jobs and their sibling items.

    Every read by id is consistent: it sees all earlier writes. `page` and `due` find jobs through
    an index that may lag by moments, but they return the current rows.
    """

    def put_request(
        self,
        job: Job,
        params: JobParams,
        graph: Graph,
        extra_pnginfo: Mapping[str, Any] | None = None,
    ) -> None:
        """Store the request under the job's id and fingerprint, unconditionally.

        Called before `add`. Two different requests cannot clash, because the names contain the
        request's fingerprint. Items that no job uses are removed after a while.

        Raises:
            RequestTooLarge: a compressed part of the request does not fit into one item.
        """

    def add(self, job: Job) -> Job | None:
        """Store a new job by one conditional write, unless its id is taken.

        Returns None if the job was added, else the job that has the id. A write that is repeated,
        because its answer was lost, has added the job, whatever has become of it since.
        """

    def replace(self, expired: Job, job: Job) -> None:
        """Replace a record after its retention; also succeeds if the record has been removed.

        Raises:
            Conflict: another job has the id, or the expired job is not settled. The conflict always
                carries the current row.
        """

    def save(self, before: Job, after: Job) -> Job:
        """Write the fields in which the two differ, if the row is still the one in `before`.

        The row must belong to the same job, not to a later job of its id, and must still have the
        version, attempt and status of `before`. The version of an ended job no longer rises, so
        its row must also have the same due time and `settle_pending`, because the next due time
        depends on both. Saving the same change twice succeeds, because the first answer may have
        been lost. Returns the row as stored, including the values of concurrent heartbeats and
        watches.

        Raises:
            Conflict: the row has changed; the conflict carries the current row.
        """

    def renew(self, job: Job, until: datetime) -> Job:
        """Extend the lease of the job's attempt; the answer carries the cancel flag.

        Raises:
            LeaseLost: that attempt no longer holds the job.
        """

    def watch(self, job_id: JobId, until: datetime, *, by_owner: bool = False) -> Job | None:
        """Record that a client follows the job until then; a later time in the row is kept.

        `by_owner`: the client follows all jobs of the job's owner, which is a mark of its own.

        Returns the row afterwards, unchanged if the job has ended, or None if there is no job.
        """

    def get(self, job_id: JobId) -> Job | None:
        """The row without its sibling items, or None."""

    def get_many(self, job_ids: Sequence[JobId]) -> list[Job]:
        """The existing rows of these ids, each once, in any order; not those it cannot read."""

    def read(self, job_id: JobId) -> JobRecord | None:
        """The row with its parameters and the result that clients are shown; not the graph.

        It has the numbers of the thumbnails. Of the artifacts it has the first
        MAX_ARTIFACTS_PER_PAGE, or more.
        """

    def artifacts(self, job: Job, numbers: range) -> tuple[Artifact, ...]:
        """The stored artifacts of the job's attempt that have these consecutive numbers."""

    def work(self, job_id: JobId) -> Work | None:
        """The job's current row with what its worker needs, in one call; None if there is no row.

        Raises:
            Unreadable: newer or broken code wrote the row.
        """

    def graph(self, job: Job) -> Graph:
        """The compiled graph of `job`, as it was stored.

        Raises:
            LookupError: the job has no graph.
        """

    def extra_pnginfo(self, job: Job) -> Mapping[str, Any]:
        """What ComfyUI writes into the pictures of `job`, as it was stored; usually nothing.

        Raises:
            LookupError: the job has some, but it was removed.
        """

    def list_stored(self, job: Job, artifacts: Sequence[Artifact], *, known: int) -> None:
        """Store the list of the files that the running attempt has stored so far.

        The first `known` of them are listed already, so the cost follows from the others. Readers
        see the list once the row counts its files. More are to come.
        """

    def put_result(self, job: Job, result: JobResult) -> None:
        """Store the whole result of the job's attempt. Readers see it once the job has ended.

        Raises:
            ValueError: the result cannot be stored, because a part of it does not fit into an item.
        """

    def put_thumbnails(self, job: Job, numbers: Sequence[int]) -> None:
        """Note that these artifacts of the job's attempt have thumbnails, in place of all before.

        The job's row does not change.
        """

    def page(
        self, owner: OwnerId, *, status: Status | None, limit: int, after: ListPosition | None
    ) -> list[JobRecord]:
        """Up to `limit` of the owner's jobs, newest first, with thumbnails, without artifacts.

        Rows that cannot be read are left out and logged. The cost does not grow with the number of
        the owner's jobs.
        """

    def due(self, now: datetime, limit: int, shard: str) -> Sequence[Job | UnreadableRow]:
        """Up to `limit` jobs of a shard that are due, the most overdue first.

        If more are due, they are shared among the owners by turns, so that one owner's jobs do not
        hide another's. That holds for MAX_DUE_SEEN jobs, of which the most overdue are taken. A row
        that cannot be read is returned as such, so that it stops no other.
        """

    def live(self, limit: int, after: LivePosition | None = None) -> list[tuple[LivePosition, Job]]:
        """Up to `limit` jobs of all owners that have not ended, after that position, in order.

        With fewer than `limit` there are no more. A job whose position moves meanwhile may come
        twice, or not at all. Rows that cannot be read are left out and logged.
        """

    def live_last_due(self, limit: int) -> tuple[list[Job], bool]:
        """Up to `limit` jobs of all owners that have not ended, and whether these are all.

        They are those that are due last. The sweeper looks at a job that waits ever more seldom, so
        the jobs that have waited longest are usually among them.
        """

    def set_aside(self, row: UnreadableRow) -> None:
        """Move the row from its shard to `quarantine()`, so that it is not found as due again.

        Nothing else in the row changes. Does nothing if the row has left that shard.
        """

    def delete(self, job: Job) -> None:
        """Remove the row if it still has this version, then the job's sibling items.

        The items of a later job of the same id stay. Deleting twice is not an error.

        Raises:
            Conflict: the row has changed, or the job has ended and is not settled.
        """
