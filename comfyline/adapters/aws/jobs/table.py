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

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from comfyline.adapters.aws import batches
from comfyline.adapters.aws.attributes import time_of
from comfyline.adapters.aws.errors import translated
from comfyline.adapters.aws.jobs import codec, expressions, results, siblings
from comfyline.adapters.aws.jobs.reader import DynamoJobReader
from comfyline.adapters.aws.jobs.siblings import ROW, key
from comfyline.contract.ids import JobId
from comfyline.service.errors import LeaseLost
from comfyline.service.graphs.graph import Graph
from comfyline.service.jobs.events import Renewed, Watched
from comfyline.service.jobs.job import Job, JobParams
from comfyline.service.jobs.result import Artifact, JobResult
from comfyline.service.jobs.store import Conflict, UnreadableRow, quarantine


class DynamoJobStore(DynamoJobReader):
    """`JobStore` in DynamoDB: the writes, besides the reads of `DynamoJobReader`."""

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
