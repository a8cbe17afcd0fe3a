"""Rows of jobs in quarantine, for an operator. See `set_aside` of `JobStore`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from comfyline.adapters.aws import batches
from comfyline.adapters.aws.errors import translated
from comfyline.adapters.aws.jobs import codec, siblings
from comfyline.adapters.aws.jobs.siblings import ROW, key
from comfyline.contract.ids import JobId
from comfyline.service.jobs.job import Job
from comfyline.service.jobs.store import UnreadableRow, due_shard, quarantines
from comfyline.service.storage_names import BY_DUE

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class DynamoQuarantine:
    """The rows in the quarantine shards of the index `by_due`."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    @translated()
    def rows(self) -> list[tuple[str, Job | UnreadableRow]]:
        """Each row with its shard. A row that this code can read is a job.

        The index lags by moments, but the rows are the current ones.
        """
        shards = quarantines()
        found = dict.fromkeys(job_id for shard in shards for job_id in self._ids(shard))
        items = batches.get_items(self._client, self._table, [key(id_, ROW) for id_ in found])
        rows = [(item.get("due_shard", {}).get("S", ""), item) for item in items]
        return [(at, codec.readable(item, at)) for at, item in rows if at in shards]

    def _ids(self, shard: str) -> Iterator[JobId]:
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            IndexName=BY_DUE,
            KeyConditionExpression="due_shard = :shard",
            ExpressionAttributeValues={":shard": {"S": shard}},
        )
        return (JobId(item["pk"]["S"]) for page in pages for item in page["Items"])

    @translated()
    def release(self, job: Job, shard: str) -> bool:
        """Move the row of `job` to the shard in which it is found when it is due.

        Returns False if it has left the quarantine.
        """
        # operator: read row in quarantine ── release: refused, because a save sets the shard, too
        # sweeper of another schema: └── save ──┘
        where: dict[str, Any] = {":quarantine": {"S": shard}}
        update = "REMOVE due_shard"
        if job.due_at is not None:
            update, where[":shard"] = "SET due_shard = :shard", {"S": due_shard(job)}
        try:
            self._client.update_item(
                TableName=self._table,
                Key=key(job.id, ROW),
                UpdateExpression=update,
                ConditionExpression="due_shard = :quarantine",
                ExpressionAttributeValues=where,
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    @translated()
    def drop(self, job_id: JobId, shard: str) -> bool:
        """Delete the row and the items beside it; False if the row has left the quarantine.

        The row goes last: until then, no post can make another job of this id, so the items that
        are deleted are those of this row.
        """
        current = self._client.get_item(
            TableName=self._table, Key=key(job_id, ROW), ConsistentRead=True
        )
        if current.get("Item", {}).get("due_shard") != {"S": shard}:
            return False
        for name in siblings.names(self._client, self._table, job_id):
            self._client.delete_item(TableName=self._table, Key=key(job_id, name))
        try:
            self._client.delete_item(
                TableName=self._table,
                Key=key(job_id, ROW),
                ConditionExpression="due_shard = :quarantine",
                ExpressionAttributeValues={":quarantine": {"S": shard}},
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        return True
