"""The workers' own rows of the jobs table, in one partition: `workers` and the worker's id.

The stream's readers look for jobs, and pass over these.
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
KEPT = timedelta(hours=1)  # after it has stopped being true; it only makes the partition larger


class DynamoAttendance:
    """`Attendance` in DynamoDB."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    @translated()
    def note(self, presence: Presence) -> None:
        """See Attendance."""
        row: dict[str, Any] = {
            "pk": WORKERS,
            "sk": {"S": presence.worker_id},
            "running": {"N": str(presence.running)},
            "until": time_of(presence.until),
            "ttl": ttl_of(presence.until + KEPT),
        }
        self._client.put_item(TableName=self._table, Item=row)

    @translated()
    def present(self, now: datetime) -> list[Presence]:
        """See Attendance."""
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
    worker_id, until = WorkerId(row["sk"]["S"]), read_time(row["until"])
    return Presence(worker_id, int(row["running"]["N"]), until)
