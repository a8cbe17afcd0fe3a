"""Reports of workers in the jobs table: one row for each worker, all in one partition.

    pk        sk
    workers   <worker id>

The functions that read the table's stream skip these rows.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from comfyline.adapters.aws.attributes import read_time, time_of, ttl_of
from comfyline.adapters.aws.errors import translated
from comfyline.contract.ids import WorkerId
from comfyline.service.fleet.workers import Presence

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

WORKERS = {"S": "workers"}
KEPT = timedelta(hours=1)  # after the report has expired; DynamoDB's TTL then deletes the row

MAX_REASON = 500  # characters


class DynamoPresenceStore:
    """`PresenceStore` in DynamoDB."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    @translated()
    def put(self, presence: Presence) -> None:
        """See PresenceStore."""
        row: dict[str, Any] = {
            "pk": WORKERS,
            "sk": {"S": presence.worker_id},
            "running": {"N": str(presence.running_jobs)},
            "until": time_of(presence.expires_at),
            "ttl": ttl_of(presence.expires_at + KEPT),
        }
        if presence.unhealthy is not None:
            row["unhealthy"] = {"S": presence.unhealthy[:MAX_REASON]}
        self._client.put_item(TableName=self._table, Item=row)

    @translated()
    def active(self, now: datetime) -> list[Presence]:
        """See PresenceStore."""
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="pk = :pk",
            FilterExpression="#until > :now",
            ExpressionAttributeNames={"#until": "until"},
            ExpressionAttributeValues={":pk": WORKERS, ":now": time_of(now)},
            ConsistentRead=True,
        )
        return [_presence(row) for page in pages for row in page["Items"]]


def _presence(row: Any) -> Presence:
    worker_id, expires_at = WorkerId(row["sk"]["S"]), read_time(row["until"])
    unhealthy = row["unhealthy"]["S"] if "unhealthy" in row else None
    return Presence(worker_id, int(row["running"]["N"]), expires_at, unhealthy)
