"""Reports of workers in the jobs table: one row for each worker, all in one partition.

    pk        sk
    workers   <worker id>
    workers   ~wanted       the revisions that workers may have

The functions that read the table's stream skip these rows.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from comfyline.adapters.aws.attributes import read_time, readable_items, time_of, ttl_of
from comfyline.adapters.aws.errors import translated
from comfyline.contract.ids import WorkerId
from comfyline.service.fleet.workers import Presence

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

WORKERS = {"S": "workers"}
_WANTED = {"S": "~wanted"}  # without `until`, so that no query for active workers returns it
KEPT = timedelta(hours=1)  # after the report has expired; DynamoDB's TTL then deletes the row

MAX_REASON = 500  # characters


class DynamoPresenceStore:
    """`PresenceStore` in DynamoDB."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    @translated()
    def put(self, presence: Presence) -> frozenset[str]:
        """See PresenceStore: one write, and one read that costs half a unit."""
        row: dict[str, Any] = {
            "pk": WORKERS,
            "sk": {"S": presence.worker_id},
            "running": {"N": str(presence.running_jobs)},
            "held": {"N": str(presence.held_jobs)},
            "ready": {"BOOL": presence.is_ready},
            "until": time_of(presence.expires_at),
            "ttl": ttl_of(presence.expires_at + KEPT),
        }
        if presence.unhealthy is not None:
            row["unhealthy"] = {"S": presence.unhealthy[:MAX_REASON]}
        if presence.claimed_at is not None:
            row["claimed_at"] = time_of(presence.claimed_at)
            row["waited"] = {"N": str(int(presence.waited.total_seconds()))}
        self._client.put_item(TableName=self._table, Item=row)
        found = self._client.get_item(TableName=self._table, Key={"pk": WORKERS, "sk": _WANTED})
        return frozenset(found["Item"]["revisions"]["SS"] if "Item" in found else ())

    @translated()
    def want(self, revisions: frozenset[str]) -> None:
        """See PresenceStore."""
        row: dict[str, Any] = {"pk": WORKERS, "sk": _WANTED, "revisions": {"SS": sorted(revisions)}}
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
        # A report that cannot be read must not hide the other workers from the scaler.
        return readable_items(presence_of, (row for page in pages for row in page["Items"]))


def presence_of(row: Any) -> Presence:
    """The report in a row."""
    claimed = row.get("claimed_at")
    return Presence(
        WorkerId(row["sk"]["S"]),
        int(row["running"]["N"]),
        read_time(row["until"]),
        row["unhealthy"]["S"] if "unhealthy" in row else None,
        # Workers of the release before this one report less.
        is_ready=row.get("ready", {"BOOL": True})["BOOL"],
        held_jobs=int(row.get("held", row["running"])["N"]),
        claimed_at=claimed and read_time(claimed),
        waited=timedelta(seconds=int(row["waited"]["N"])) if claimed else timedelta(0),
    )
