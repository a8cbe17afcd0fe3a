"""Jobs as they are stored. Every change is one conditional write: of two that race, one wins and
the other learns what the row is now.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from comfyline.contract.ids import JobId, OwnerId
    from comfyline.service.jobs.job import Artifact, Graph, Job, JobParams, JobRecord, Status


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
