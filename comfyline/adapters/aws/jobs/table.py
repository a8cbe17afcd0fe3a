"""The jobs table: a job is a partition, its row and what belongs to it are the items.

    pk      sk                                     holds
    job id  job                                    the row: all that changes, and the indexes' keys
    job id  job#artifacts#<incarnation>-<attempt>  what an attempt has made; its terminal write
                                                   makes it count
    job id  job#request#<fingerprint>              what was asked, to be shown, and the compiled
                                                   graph, where both fit into one write unit
    job id  job#params#<fingerprint>               else what was asked,
    job id  input#<fingerprint>                    and the graph

One query for `job...` reads a job without a graph of more than that, so what a read costs does not
grow with it. The row alone decides whether a job exists: items without one are never seen, and end
by their TTL.

Every write of a row is one conditional write. Whatever it refuses is answered from the row as it
is now, which the refusal carries: a lost race costs no read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import ClientError

from comfyline.adapters.aws import batches
from comfyline.adapters.aws.errors import translated
from comfyline.adapters.aws.jobs import codec
from comfyline.adapters.aws.jobs import index as jobs_index
from comfyline.contract.ids import JobId, OwnerId
from comfyline.service.errors import Conflict, LeaseLost, RequestTooLarge
from comfyline.service.jobs.events import Event, Renewed, Watched
from comfyline.service.jobs.job import Artifact, Graph, Job, JobParams, JobRecord, Status
from comfyline.service.jobs.lifecycle import from_states
from comfyline.service.jobs.store import ListPosition

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# DynamoDB takes items of 400 KB; the keys and the other attributes need well under 1 KB of it.
MAX_BODY_BYTES = 399 * 1024
# A write unit is 1 KB; keys and times take less than 160 bytes of it.
MAX_WHOLE_BYTES = 1024 - 160

# What belongs to a job outlives it by this much, however often it is tried again, and what belongs
# to none is gone after it.
ORPHAN_MARGIN = timedelta(days=30)

_ROW = "job"


class DynamoJobStore:
    """`JobStore` in DynamoDB. `page` and `due` find rows by index, which lags by moments."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    # --- a job's beginning ------------------------------------------------------------------------

    @translated()
    def put_request(self, job: Job, params: JobParams, graph: Graph) -> None:
        """See JobStore: one item or two, in one call."""
        items = _request_items(job, params, graph)
        if any(len(item["body"]["B"]) > MAX_BODY_BYTES for item in items):
            raise RequestTooLarge(f"A request has at most {MAX_BODY_BYTES} bytes, compressed.")
        batches.put_items(self._client, self._table, items)

    @translated()
    def add(self, job: Job) -> Job | None:
        """See JobStore."""
        # post A:  put ──(answer lost)──> put again by the SDK: refused by A's own row
        # post B:          put: refused by A's row, which is the answer
        is_free = "attribute_not_exists(pk)"
        existing = self._put_row(job, is_free)
        return None if existing == job else existing

    @translated()
    def replace(self, expired: Job, job: Job) -> None:
        """See JobStore."""
        # post A:   add: refused by the expired row ──> replace it
        # post B:   add: refused likewise ──> replace: A's row is in the way, another queued_at
        # sweeper:  may have removed the row in between, which suits both
        is_gone = "attribute_not_exists(pk)"
        is_the_expired = "#version = :version AND queued_at = :queued_at"
        current = self._put_row(
            job,
            f"{is_gone} OR ({is_the_expired})",
            ExpressionAttributeNames={"#version": "version"},
            ExpressionAttributeValues=_identity_values(expired),
        )
        if current is not None and current != job:
            raise Conflict(current)

    def _put_row(self, job: Job, condition: str, **expression: Any) -> Job | None:
        """Put the row under the condition; the row that was in the way, None if it was put."""
        try:
            self._client.put_item(
                TableName=self._table,
                Item={**codec.item_of(job), "sk": {"S": _ROW}},
                ConditionExpression=condition,
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **expression,
            )
        except self._client.exceptions.ConditionalCheckFailedException as refusal:
            return _row_in_the_way(refusal)
        return None

    # --- a job's changes --------------------------------------------------------------------------

    @translated()
    def save(self, before: Job, after: Job) -> Job:
        """See JobStore."""
        # us:         read v5 ──────────── save v6: refused ──> Conflict(v6 as another wrote it)
        # another:         └── save v6 ──┘
        # us:         read v5 ───────────────── save v6 ──> only what the change is about is set,
        # heartbeat:       └── lease_until ──┘               so what these two have set stays,
        # follower:        └── watched_until ┘               and is in the answer
        # us:         read v5 ── save v6 ──(answer lost)──> save v6 again: refused by our own v6
        old, new = codec.item_of(before), codec.item_of(after)
        sets = {name: value for name, value in new.items() if value != old.get(name)}
        sets["version"] = new["version"]  # never nothing to set
        removes = old.keys() - new.keys()
        is_the_job = "queued_at = :queued_at"  # false for a row that does not exist
        has_version = "#version = :version_before"
        has_attempt = "#attempt = :attempt_before"
        has_status = "#status = :status_before"
        guarded = ("version", "attempt", "status")
        guards = {f":{name}_before": old[name] for name in guarded}
        try:
            return self._update_row(
                before.id,
                update=_assignments(sets, removes),
                condition=f"{is_the_job} AND {has_version} AND {has_attempt} AND {has_status}",
                names={*sets, *removes, *guarded},
                values=_values(sets) | guards | {":queued_at": old["queued_at"]},
            )
        except self._client.exceptions.ConditionalCheckFailedException as refusal:
            current = _row_in_the_way(refusal)
            if current is not None and _holds(current, new, sets.keys() | removes):
                return current
            raise Conflict(current) from refusal

    @translated()
    def renew(self, job: Job, until: datetime) -> Job:
        """See JobStore."""
        # holder:   claim 3 ── renew 3 ──(stalls)────────────── renew 3: refused
        # sweeper:                     lease over: given back ┘   by the missing lease, or by
        # another:                                 └── claim 4 ┘  the attempt, or by the status
        # owner:    purges the ended job ── posts its key again ── claim 3: refused by queued_at
        states = _status_values(Renewed)
        is_held = "attribute_exists(lease)"
        is_ours = "queued_at = :queued_at AND #attempt = :attempt"
        is_live = f"#status IN ({', '.join(states)})"
        try:
            return self._update_row(
                job.id,
                update="SET lease_until = :until",
                condition=f"{is_held} AND {is_ours} AND {is_live}",
                names={"attempt", "status"},
                values={
                    ":until": codec.time_of(until),
                    ":queued_at": codec.time_of(job.queued_at),
                    ":attempt": {"N": str(job.attempt)},
                    **states,
                },
            )
        except self._client.exceptions.ConditionalCheckFailedException as refusal:
            raise LeaseLost(f"attempt {job.attempt} no longer holds {job.id}") from refusal

    @translated()
    def watch(self, job_id: JobId, until: datetime) -> Job | None:
        """See JobStore."""
        # follower A:  watch until 5 ──────────────────── refused: the row is the answer
        # follower B:       └── watch until 9 ──> 9 ──┘
        states = _status_values(Watched)
        is_live = f"#status IN ({', '.join(states)})"  # false for a row that does not exist
        is_later = "(attribute_not_exists(watched_until) OR watched_until < :until)"
        try:
            return self._update_row(
                job_id,
                update="SET watched_until = :until",
                condition=f"{is_live} AND {is_later}",
                names={"status"},
                values={":until": codec.time_of(until), **states},
            )
        except self._client.exceptions.ConditionalCheckFailedException as refusal:
            return _row_in_the_way(refusal)

    def _update_row(
        self, job_id: JobId, *, update: str, condition: str, names: Iterable[str], values: Any
    ) -> Job:
        answer = self._client.update_item(
            TableName=self._table,
            Key=_key(job_id, _ROW),
            UpdateExpression=update,
            ConditionExpression=condition,
            ExpressionAttributeNames=_names(names),
            ExpressionAttributeValues=values,
            ReturnValues="ALL_NEW",
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
        return codec.job_of(answer["Attributes"])

    @translated()
    def put_artifacts(self, job: Job, artifacts: Sequence[Artifact]) -> None:
        """See JobStore."""
        item = _sibling(job, _artifacts_sk(job), codec.packed_artifacts(artifacts))
        self._client.put_item(TableName=self._table, Item=item)

    # --- reading one ------------------------------------------------------------------------------

    @translated()
    def get(self, job_id: JobId) -> Job | None:
        """See JobStore."""
        item = self._get_item(job_id, _ROW)
        return codec.job_of(item) if item else None

    @translated()
    def get_many(self, job_ids: Sequence[JobId]) -> list[Job]:
        """See JobStore."""
        return self._rows(list(dict.fromkeys(job_ids)))

    @translated()
    def graph(self, job: Job) -> Graph:
        """See JobStore: one read, two for a graph that has an item of its own."""
        if whole := self._get_item(job.id, _request_sk(job)):
            return codec.unpacked_graph(whole["body"]["B"])
        if item := self._get_item(job.id, _input_sk(job)):
            return cast(Graph, codec.unpack(item["body"]["B"]))
        raise LookupError(f"{job.id} has no graph")

    @translated()
    def read(self, job_id: JobId) -> JobRecord | None:
        """See JobStore: one query."""
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="pk = :pk AND begins_with(sk, :row)",
            ExpressionAttributeValues={":pk": {"S": job_id}, ":row": {"S": _ROW}},
            ConsistentRead=True,
        )
        items = {item["sk"]["S"]: item for page in pages for item in page["Items"]}
        if _ROW not in items:
            return None
        job = codec.job_of(items[_ROW])
        made = items.get(_artifacts_sk(job)) if job.lists_files else None
        artifacts = codec.unpacked_artifacts(made["body"]["B"]) if made else ()
        asked = items.get(_request_sk(job)) or items.get(_params_sk(job))
        return JobRecord(job, _params_of(asked), artifacts)

    def _get_item(self, job_id: JobId, sk: str) -> codec.Item | None:
        key = _key(job_id, sk)
        answer = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True)
        return answer.get("Item")

    # --- reading many: an index says where to look, the rows say what is true ---------------------

    @translated()
    def page(
        self, owner: OwnerId, *, status: Status | None, limit: int, after: ListPosition | None
    ) -> list[JobRecord]:
        """See JobStore. Without a status, one query for each, merged."""
        statuses = [status] if status else list(Status)
        listed = jobs_index.listed(self._client, self._table, owner, statuses, limit, after)
        records: list[JobRecord] = []
        # A row may have changed since it was indexed: what is left out is made up for.
        while (missing := limit - len(records)) and (ids := list(islice(listed, missing))):
            jobs = [job for job in self._rows(ids) if status in (None, job.status)]
            records += self._with_params(jobs)
        return records

    @translated()
    def due(self, now: datetime, limit: int) -> list[Job]:
        """See JobStore."""
        ids = jobs_index.due(self._client, self._table, now, limit)
        return [job for job in self._rows(ids) if job.due_at is not None and job.due_at <= now]

    def _rows(self, ids: Sequence[JobId]) -> list[Job]:
        """The rows that exist, in the order of `ids`."""
        items = batches.get_items(self._client, self._table, [_key(id_, _ROW) for id_ in ids])
        rows = {item["pk"]["S"]: codec.job_of(item) for item in items}
        return [rows[job_id] for job_id in ids if job_id in rows]

    def _with_params(self, jobs: Sequence[Job]) -> list[JobRecord]:
        by_job: dict[str, codec.Item] = {}
        for name_of in (_request_sk, _params_sk):
            keys = [_key(job.id, name_of(job)) for job in jobs if job.id not in by_job]
            items = batches.get_items(self._client, self._table, keys)
            by_job |= {item["pk"]["S"]: item for item in items}
        return [JobRecord(job, _params_of(by_job.get(job.id))) for job in jobs]

    # --- a job's end ------------------------------------------------------------------------------

    @translated()
    def delete(self, job: Job) -> None:
        """See JobStore. The row goes first: whatever happens then, nobody sees the rest."""
        # sweeper:  delete the row ──────────────────────────── delete its siblings
        # client:       └── posts the same again: the same names, but put after the record's end ┘
        try:
            self._client.delete_item(
                TableName=self._table,
                Key=_key(job.id, _ROW),
                ConditionExpression="#version = :version AND queued_at = :queued_at",
                ExpressionAttributeNames={"#version": "version"},
                ExpressionAttributeValues=_identity_values(job),
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except self._client.exceptions.ConditionalCheckFailedException as refusal:
            current = _row_in_the_way(refusal)
            if current is not None:
                raise Conflict(current) from refusal
        for sk in self._siblings(job.id):
            self._delete_sibling(job, sk)

    def _siblings(self, job_id: JobId) -> list[str]:
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": job_id}},
            ProjectionExpression="sk",
            ConsistentRead=True,
        )
        found = [item["sk"]["S"] for page in pages for item in page["Items"]]
        return [sk for sk in found if sk != _ROW]

    def _delete_sibling(self, job: Job, sk: str) -> None:
        """Delete the item unless it belongs to a later job of the same id."""
        end = job.expires_at or job.queued_at + timedelta.resolution
        try:
            self._client.delete_item(
                TableName=self._table,
                Key=_key(job.id, sk),
                ConditionExpression="queued_at < :end",
                ExpressionAttributeValues={":end": codec.time_of(end)},
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return


# --- keys and items -------------------------------------------------------------------------------


def _key(job_id: JobId, sk: str) -> dict[str, Any]:
    return {"pk": {"S": job_id}, "sk": {"S": sk}}


def _request_items(job: Job, params: JobParams, graph: Graph) -> list[codec.Item]:
    packed = codec.pack(graph)
    if len(packed) <= MAX_WHOLE_BYTES:  # a large graph is not packed a second time for nothing
        whole = codec.packed_request(params, graph)
        if len(whole) <= MAX_WHOLE_BYTES:
            return [_sibling(job, _request_sk(job), whole)]
    # Under other names: a replay, which a newer deployment may compile to more than fits, must not
    # take from a worker what the first post has put.
    return [
        _sibling(job, _params_sk(job), codec.packed_params(params)),
        _sibling(job, _input_sk(job), packed),
    ]


def _request_sk(job: Job) -> str:
    return f"job#request#{job.fingerprint}"


def _params_sk(job: Job) -> str:
    return f"job#params#{job.fingerprint}"


def _artifacts_sk(job: Job) -> str:
    return f"job#artifacts#{job.incarnation}-{job.attempt}"


def _input_sk(job: Job) -> str:
    return f"input#{job.fingerprint}"


def _sibling(job: Job, sk: str, body: bytes) -> dict[str, Any]:
    return {
        **_key(job.id, sk),
        "body": {"B": body},
        "queued_at": codec.time_of(job.queued_at),
        "ttl": codec.ttl_of(job.start_deadline + job.retention + ORPHAN_MARGIN),
    }


def _params_of(item: codec.Item | None) -> JobParams:
    return codec.unpacked_params(item["body"]["B"]) if item else JobParams(params={})


# --- expressions ----------------------------------------------------------------------------------


def _names(attributes: Iterable[str]) -> dict[str, str]:
    return {f"#{name}": name for name in attributes}  # many of ours are DynamoDB's reserved words


def _values(attributes: codec.Item) -> dict[str, Any]:
    return {f":{name}": value for name, value in attributes.items()}


def _assignments(sets: codec.Item, removes: Iterable[str]) -> str:
    setting = "SET " + ", ".join(f"#{name} = :{name}" for name in sets)
    removing = ", ".join(f"#{name}" for name in removes)
    return f"{setting} REMOVE {removing}" if removing else setting


def _status_values(event: type[Event]) -> dict[str, Any]:
    return {f":from_{status}": {"S": status.value} for status in sorted(from_states(event))}


def _identity_values(job: Job) -> dict[str, Any]:
    """A version of one job; another job of the same id was queued at another time."""
    return {":version": {"N": str(job.version)}, ":queued_at": codec.time_of(job.queued_at)}


# --- refusals -------------------------------------------------------------------------------------


def _row_in_the_way(refusal: ClientError) -> Job | None:
    item = cast(codec.Item, refusal.response).get("Item")
    return codec.job_of(item) if item else None


def _holds(current: Job, new: codec.Item, changed: Set[str]) -> bool:
    """Everything that a change is about is so already: it was saved before.

    The version alone would not say it: another change of the same version may have won. The end of
    the lease does not count, since a heartbeat may have moved it on.
    """
    about = (changed | {"queued_at", "version", "attempt", "status", "lease"}) - {"lease_until"}
    row = codec.item_of(current)
    return all(row.get(name) == new.get(name) for name in about)
