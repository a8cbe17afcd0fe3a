"""The jobs table: a job is a partition; its items are the job's row and what belongs to it.

    pk      sk                                      holds
    job id  job                                     the row: all that changes, and the indexes' keys
    job id  job#artifacts#<incarnation>-<attempt>   the result of an attempt, with its first
                                                    artifacts; its terminal write makes it count
    job id  job#thumbs#<incarnation>-<attempt>      which artifacts have thumbnails, which are made
                                                    after the end, when the row changes no more
    job id  artifacts#<incarnation>-<attempt>#<n>   part n of the other artifacts, from 1
    job id  job#request#<fingerprint>               the parameters, to be shown, and the compiled
                                                    graph, if both fit into one write unit
    job id  job#params#<fingerprint>                otherwise the parameters alone,
    job id  input#<fingerprint>                     and the graph alone
    job id  pnginfo#<fingerprint>                   what ComfyUI writes into pictures, if anything

One query for `job...` reads a job with its first artifacts, so the cost of a read grows neither
with the graph nor with the number of artifacts. The row alone decides whether a job exists: readers
never see items without a row, and DynamoDB removes those by their TTL.

Every write of a row is one conditional write. If DynamoDB refuses it, the answer carries the
current row, so that a lost race costs no read.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

from comfyline.adapters.aws import batches
from comfyline.adapters.aws.attributes import Item, time_of
from comfyline.adapters.aws.errors import translated
from comfyline.adapters.aws.jobs import codec, expressions, results, siblings
from comfyline.adapters.aws.jobs import index as jobs_index
from comfyline.adapters.aws.jobs.siblings import ROW, key
from comfyline.contract.ids import JobId, OwnerId
from comfyline.service.errors import LeaseLost
from comfyline.service.graphs.graph import Graph
from comfyline.service.jobs.events import Renewed, Watched
from comfyline.service.jobs.job import Job, JobParams, JobRecord, Status
from comfyline.service.jobs.result import Artifact, JobResult
from comfyline.service.jobs.store import (
    MAX_DUE_SEEN,
    Conflict,
    ListPosition,
    UnreadableRow,
    Work,
    quarantine,
)
from comfyline.service.jobs.turns import in_turns

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_log = logging.getLogger(__name__)


class DynamoJobStore:
    """`JobStore` in DynamoDB. `page` and `due` find rows by index, which lags by moments."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    # --- a job's beginning ------------------------------------------------------------------------

    @translated()
    def put_request(
        self,
        job: Job,
        params: JobParams,
        graph: Graph,
        extra_pnginfo: Mapping[str, Any] | None = None,
    ) -> None:
        """See JobStore: up to three items, in one call."""
        items = siblings.request_items(job, params, graph, extra_pnginfo)
        batches.put_items(self._client, self._table, items)

    @translated()
    def add(self, job: Job) -> Job | None:
        """See JobStore."""
        # post A:  put ──(answer lost)──> the SDK puts again: refused by A's own row, which a
        # another:              └── may have claimed, canceled or ended the job meanwhile ──┘
        # post B:          put: refused by A's row, which is the answer
        is_free = "attribute_not_exists(pk)"
        existing = self._put_row(job, is_free)
        return None if existing is None or existing.is_of_same_post(job) else existing

    @translated()
    def replace(self, expired: Job, job: Job) -> None:
        """See JobStore."""
        # post A:   add: refused by the expired row ──> replace it
        # post B:   add: refused by the expired row ──> replace: refused by A's row, since its
        #                                               queued_at differs from the expired row's
        # sweeper:  may have removed the row in between; then `is_gone` holds
        is_gone = "attribute_not_exists(pk)"
        is_removable, placeholders = expressions.removable(expired)
        current = self._put_row(job, f"{is_gone} OR ({is_removable})", **placeholders)
        if current is not None and not current.is_of_same_post(job):
            raise Conflict(current)

    def _put_row(self, job: Job, condition: str, **placeholders: Any) -> Job | None:
        """Put the row if the condition holds; returns the row in the way, None if it was put."""
        try:
            self._client.put_item(
                TableName=self._table,
                Item={**codec.item_of(job), "sk": {"S": ROW}},
                ConditionExpression=condition,
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **placeholders,
            )
        except self._client.exceptions.ConditionalCheckFailedException as refusal:
            return expressions.row_in_the_way(refusal)
        return None

    # --- a job's changes --------------------------------------------------------------------------

    @translated()
    def save(self, before: Job, after: Job) -> Job:
        """See JobStore."""
        # us:          read v5 ──────────── save v6: refused ──> Conflict(the other writer's v6)
        # another:          └── save v6 ──┘
        # us:          read v5 ───────────────── save v6 ──> sets only what the change is about, so
        # heartbeat:        └── lease_until ──┘              the values that these two have set stay
        # subscriber:       └── watched_until ┘              in the row and are in the answer
        # us:          read v5 ── save v6 ──(answer lost)──> save v6 again: refused by our own v6
        old, new = codec.item_of(before), codec.item_of(after)
        sets = {name: value for name, value in new.items() if value != old.get(name)}
        sets["version"] = new["version"]  # an update must set something
        if "due_shard" in new:  # the row may be in quarantine, and this code can read it
            sets["due_shard"] = new["due_shard"]
        removes = old.keys() - new.keys()
        # settle_jobs: read ended row ────────── save "settled": refused, because the due time
        # sweeper:          └── save "tidied" ──┘           it sets depends on pending work
        guarded = ["queued_at", "version", "attempt", "status"]
        if before.status.is_terminal:
            guarded += ["due_at", "settle_pending"]
        condition, guards = expressions.unchanged(guarded, old)
        try:
            return self._update_row(
                before.id,
                update=expressions.update_of(sets, removes),
                condition=condition,
                names={*sets, *removes, *guarded},
                values=expressions.values_of(sets) | guards,
            )
        except self._client.exceptions.ConditionalCheckFailedException as refusal:
            current = expressions.row_in_the_way(refusal)
            if current and expressions.is_saved(current, new, sets.keys() | removes):
                return current
            raise Conflict(current) from refusal

    @translated()
    def renew(self, job: Job, until: datetime) -> Job:
        """See JobStore."""
        # holder:   claim 3 ── renew 3 ──(stalls)────────────── renew 3: refused, because the lease
        # sweeper:                     lease expired: freed ┘   is missing, or because the attempt
        # another:                                 └── claim 4 ┘  or the status has changed
        # owner:    purges the ended job ── posts its key again ── claim 3: refused by queued_at
        is_held = "attribute_exists(lease)"
        is_ours = "queued_at = :queued_at AND #attempt = :attempt"
        is_live, states = expressions.allowing(Renewed)
        try:
            return self._update_row(
                job.id,
                update="SET lease_until = :until",
                condition=f"{is_held} AND {is_ours} AND {is_live}",
                names={"attempt", "status"},
                values={
                    ":until": time_of(until),
                    ":queued_at": time_of(job.queued_at),
                    ":attempt": {"N": str(job.attempt)},
                    **states,
                },
            )
        except self._client.exceptions.ConditionalCheckFailedException as refusal:
            raise LeaseLost(f"attempt {job.attempt} no longer holds {job.id}") from refusal

    @translated()
    def watch(self, job_id: JobId, until: datetime, *, by_owner: bool = False) -> Job | None:
        """See JobStore."""
        # subscriber A:  watch until 5 ──────────────────── refused: return the row as stored
        # subscriber B:       └── watch until 9 ──> 9 ──┘
        is_live, states = expressions.allowing(Watched)
        mark = "owner_watched_until" if by_owner else "watched_until"
        is_later = f"(attribute_not_exists({mark}) OR {mark} < :until)"
        try:
            return self._update_row(
                job_id,
                update=f"SET {mark} = :until",
                condition=f"{is_live} AND {is_later}",
                names={"status"},
                values={":until": time_of(until), **states},
            )
        except self._client.exceptions.ConditionalCheckFailedException as refusal:
            return expressions.row_in_the_way(refusal)

    def _update_row(
        self, job_id: JobId, *, update: str, condition: str, names: Iterable[str], values: Any
    ) -> Job:
        answer = self._client.update_item(
            TableName=self._table,
            Key=key(job_id, ROW),
            UpdateExpression=update,
            ConditionExpression=condition,
            ExpressionAttributeNames=expressions.names_of(names),
            ExpressionAttributeValues=values,
            ReturnValues="ALL_NEW",
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
        return codec.job_of(answer["Attributes"])

    @translated()
    def list_stored(self, job: Job, artifacts: Sequence[Artifact], *, known: int) -> None:
        """See JobStore: the parts before the one with number `known` stay as they are."""
        results.put(self._client, self._table, results.part_items(job, artifacts, known=known))

    @translated()
    def put_result(self, job: Job, result: JobResult) -> None:
        """See JobStore."""
        results.put(self._client, self._table, results.result_items(job, result))

    @translated()
    def put_thumbnails(self, job: Job, numbers: Sequence[int]) -> None:
        """See JobStore: one item."""
        results.put(self._client, self._table, [results.thumbnails_item(job, numbers)])

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
    def set_aside(self, row: UnreadableRow) -> None:
        """See JobStore. The write needs nothing of the row but its shard."""
        # sweeper:  read row ──────────────────────── set aside: refused, or it changes nothing,
        # another:      └── save (code that can read) ──┘      because a save sets the shard
        with suppress(self._client.exceptions.ConditionalCheckFailedException):
            self._client.update_item(
                TableName=self._table,
                Key=key(row.id, ROW),
                UpdateExpression="SET due_shard = :quarantine",
                ConditionExpression="due_shard = :shard",
                ExpressionAttributeValues={
                    ":quarantine": {"S": quarantine()},
                    ":shard": {"S": row.shard},
                },
            )

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

    # --- a job's removal --------------------------------------------------------------------------

    @translated()
    def delete(self, job: Job) -> None:
        """See JobStore. The row goes first: after that, no reader sees the other items."""
        # sweeper:  delete the row ──────────────────────── delete its siblings, but none that was
        # client:       └── posts the same request again ──┘ put after the end of the first record
        is_removable, placeholders = expressions.removable(job)
        try:
            self._client.delete_item(
                TableName=self._table,
                Key=key(job.id, ROW),
                ConditionExpression=is_removable,
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **placeholders,
            )
        except self._client.exceptions.ConditionalCheckFailedException as refusal:
            if current := expressions.row_in_the_way(refusal):
                raise Conflict(current) from refusal
        siblings.delete_all(self._client, self._table, job)


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
