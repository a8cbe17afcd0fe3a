"""The reads of the jobs table; `table.py` says which items it has."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

from comfyline.adapters.aws import batches
from comfyline.adapters.aws.attributes import Item
from comfyline.adapters.aws.errors import translated
from comfyline.adapters.aws.jobs import codec, results, siblings
from comfyline.adapters.aws.jobs import index as jobs_index
from comfyline.adapters.aws.jobs.siblings import ROW, key
from comfyline.contract.ids import JobId, OwnerId
from comfyline.service.graphs.graph import Graph
from comfyline.service.jobs.job import Job, JobRecord, Status
from comfyline.service.jobs.result import Artifact
from comfyline.service.jobs.store import (
    MAX_DUE_SEEN,
    ListPosition,
    LivePosition,
    UnreadableRow,
    Work,
)
from comfyline.service.jobs.turns import in_turns

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_log = logging.getLogger(__name__)


class DynamoJobReader:
    """The reads of `JobStore`. `page` and `due` find rows by index, which lags by moments."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    # --- reading one ------------------------------------------------------------------------------

    @translated()
    def get(self, job_id: JobId) -> Job | None:
        """See JobStore."""
        item = self._get_item(job_id, ROW)
        return codec.job_of(item) if item else None

    @translated()
    def get_many(self, job_ids: Sequence[JobId]) -> list[Job]:
        """See JobStore."""
        return _jobs_of(self._rows(job_ids))

    @translated()
    def work(self, job_id: JobId) -> Work | None:
        """See JobStore: one query. It needs no fingerprint, which only the row has."""
        items = siblings.query(
            self._client,
            self._table,
            job_id,
            "sk BETWEEN :first AND :last",
            first=siblings.FIRST_OF_WORK,
            last=siblings.LAST_OF_WORK,
        )
        if ROW not in items:
            return None
        job = codec.job_of(items[ROW])
        return Work(job, siblings.graph_in(items, job), siblings.pnginfo_in(items, job))

    @translated()
    def graph(self, job: Job) -> Graph:
        """See JobStore: one read, or two if the graph has its own item."""
        if whole := self._get_item(job.id, siblings.request_sk(job)):
            return siblings.unpacked_graph(whole["body"]["B"])
        if item := self._get_item(job.id, siblings.graph_sk(job)):
            return cast(Graph, siblings.unpack(item["body"]["B"]))
        raise LookupError(f"{job.id} has no graph")

    @translated()
    def extra_pnginfo(self, job: Job) -> Mapping[str, Any]:
        """See JobStore: no read if the job has none."""
        if not job.options.has_pnginfo:
            return {}
        if item := self._get_item(job.id, siblings.pnginfo_sk(job)):
            return cast(Mapping[str, Any], siblings.unpack(item["body"]["B"]))
        raise LookupError(f"{job.id} has no extra_pnginfo")

    @translated()
    def read(self, job_id: JobId) -> JobRecord | None:
        """See JobStore: one query."""
        items = siblings.query(self._client, self._table, job_id, "begins_with(sk, :row)", row=ROW)
        if ROW not in items:
            return None
        job = codec.job_of(items[ROW])
        shown = items.get(results.result_sk(job)) if job.lists_files else None
        request = items.get(siblings.request_sk(job)) or items.get(siblings.params_sk(job))
        thumbnails = items.get(results.thumbnails_sk(job)) if job.lists_files else None
        return JobRecord(
            job,
            siblings.params_of(request),
            *results.result_of(shown, job),
            results.thumbnails_of(thumbnails),
        )

    @translated()
    def artifacts(self, job: Job, numbers: range) -> tuple[Artifact, ...]:
        """See JobStore: one query, or two."""
        return results.listed(self._client, self._table, job, numbers)

    def _get_item(self, job_id: JobId, sk: str) -> Item | None:
        answer = self._client.get_item(
            TableName=self._table, Key=key(job_id, sk), ConsistentRead=True
        )
        return answer.get("Item")

    # --- reading many: an index finds the rows, which are then read as they are now ---------------

    @translated()
    def page(
        self, owner: OwnerId, *, status: Status | None, limit: int, after: ListPosition | None
    ) -> list[JobRecord]:
        """See JobStore. Without a status, one query for each status, merged."""
        statuses = [status] if status else list(Status)
        listed = jobs_index.listed(self._client, self._table, owner, statuses, limit, after)
        records: list[JobRecord] = []
        # A row may have changed since it was indexed. Each row left out is replaced by a later one.
        while (missing := limit - len(records)) and (ids := list(islice(listed, missing))):
            rows = _jobs_of(self._rows(ids))
            jobs = [job for job in rows if status in (None, job.status)]
            records += self._with_siblings(jobs)
        return records

    @translated()
    def due(self, now: datetime, limit: int, shard: str) -> list[Job | UnreadableRow]:
        """See JobStore."""
        ids = [*jobs_index.due(self._client, self._table, shard, now, MAX_DUE_SEEN)]
        if len(ids) > limit:
            owners = self._owners(ids)
            ids = in_turns(ids, owners.get)[:limit]
        return [row for row in self._rows(ids, shard) if _is_due(row, now)]

    @translated()
    def live(self, limit: int, after: LivePosition | None = None) -> list[tuple[LivePosition, Job]]:
        """See JobStore. Each page of the index may have jobs that have ended since."""
        places = jobs_index.live(self._client, self._table, limit, after)
        found: list[tuple[LivePosition, Job]] = []
        while (missing := limit - len(found)) and (page := list(islice(places, missing))):
            rows = {job.id: job for job in self._live_rows([place.job_id for place in page])}
            found += [(place, rows[place.job_id]) for place in page if place.job_id in rows]
        return found

    @translated()
    def live_last_due(self, limit: int) -> tuple[list[Job], bool]:
        """See JobStore: 16 queries, and a read of each row."""
        ids = jobs_index.last_due(self._client, self._table, limit)
        return self._live_rows(ids), len(ids) < limit

    def _live_rows(self, ids: Sequence[JobId]) -> list[Job]:
        return [job for job in _jobs_of(self._rows(ids)) if not job.status.is_terminal]

    def _owners(self, ids: Sequence[JobId]) -> Mapping[str, str]:
        """The owner of each row. All rows without an owner share one turn."""
        keys = [key(id_, ROW) for id_ in ids]
        items = batches.get_items(self._client, self._table, keys, only=("pk", "owner"))
        return {item["pk"]["S"]: item.get("owner", {}).get("S", "") for item in items}

    def _rows(self, ids: Sequence[JobId], shard: str = "") -> list[Job | UnreadableRow]:
        """The rows that exist, each once, in the order of `ids`."""
        distinct = dict.fromkeys(ids)
        items = batches.get_items(self._client, self._table, [key(id_, ROW) for id_ in distinct])
        rows = {item["pk"]["S"]: codec.readable(item, shard) for item in items}
        return [rows[job_id] for job_id in distinct if job_id in rows]

    def _with_siblings(self, jobs: Sequence[Job]) -> list[JobRecord]:
        params, thumbnails = self._params(jobs), self._thumbnails(jobs)
        return [
            JobRecord(
                job,
                siblings.params_of(params.get(job.id)),
                thumbnails=results.thumbnails_of(thumbnails.get(job.id)),
            )
            for job in jobs
        ]

    def _thumbnails(self, jobs: Sequence[Job]) -> dict[str, Item]:
        """The items of thumbnails. Only a job with files can have one, so others cost no read."""
        ended = [job for job in jobs if job.status.is_terminal and job.lists_files and job.stored]
        keys = [key(job.id, results.thumbnails_sk(job)) for job in ended]
        return {i["pk"]["S"]: i for i in batches.get_items(self._client, self._table, keys)}

    def _params(self, jobs: Sequence[Job]) -> dict[str, Item]:
        by_job: dict[str, Item] = {}
        for name_of in (siblings.request_sk, siblings.params_sk):
            keys = [key(job.id, name_of(job)) for job in jobs if job.id not in by_job]
            found = batches.get_items(self._client, self._table, keys)
            by_job |= {item["pk"]["S"]: item for item in found}
        return by_job


def _jobs_of(rows: Iterable[Job | UnreadableRow]) -> list[Job]:
    """The rows that can be read. The others are logged; the sweeper sets them aside."""
    jobs = []
    for row in rows:
        if isinstance(row, UnreadableRow):
            extra = {"action": "row_unreadable", "job_id": row.id, "reason": row.reason}
            _log.error("row left out", extra=extra)
        else:
            jobs.append(row)
    return jobs


def _is_due(row: Job | UnreadableRow, now: datetime) -> bool:
    """Whether the row is due; the index, which lags, may show an older row."""
    return isinstance(row, UnreadableRow) or (row.due_at is not None and row.due_at <= now)
