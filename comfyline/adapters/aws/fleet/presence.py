"""Reports of workers in the jobs table: one row for each worker, all in one partition.

    pk        sk
    workers   <worker id>
    workers   ~wanted       the revisions that workers may have

The functions that read the table's stream skip these rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from comfyline.adapters.aws.attributes import read_time, readable_items, time_of, ttl_of
from comfyline.adapters.aws.errors import translated
from comfyline.contract.ids import JobId, OwnerId, WorkerId
from comfyline.service.fleet.workers import HeldJob, Presence, WorkerFacts

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

WORKERS = {"S": "workers"}
_WANTED = {"S": "~wanted"}  # without `until`, so that no query for active workers returns it
KEPT = timedelta(hours=1)  # after the report has expired; DynamoDB's TTL then deletes the row
# A row stays below the kilobyte that one write unit pays for, unless its texts are unusually long.


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
            row["unhealthy"] = {"S": presence.unhealthy}
        if presence.claimed_at is not None:
            row["claimed_at"] = time_of(presence.claimed_at)
            row["waited"] = {"N": str(int(presence.waited.total_seconds()))}
        self._client.put_item(TableName=self._table, Item=row | _for_operators(presence))
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
        is_retiring="retiring" in row,
        jobs=tuple(map(_held_job, row.get("jobs", {"L": ()})["L"])),
        checkpoint=row["checkpoint"]["S"] if "checkpoint" in row else None,
        facts=_facts(row.get("facts", {"M": {}})["M"]),
    )


def _for_operators(presence: Presence) -> dict[str, Any]:
    """The attributes that only operators read. Those without a value are left out."""
    facts, memory = presence.facts, presence.facts.gpu_memory_bytes
    texts = {name: {"S": text} for name in _FACTS if (text := getattr(facts, name))}
    known = texts if memory is None else texts | {"gpu_memory_bytes": {"N": str(memory)}}
    jobs = [{"M": {"id": {"S": job.id}, "owner": {"S": job.owner}}} for job in presence.jobs]
    attributes = {
        "retiring": {"BOOL": True} if presence.is_retiring else None,
        "jobs": {"L": jobs} if jobs else None,
        "checkpoint": {"S": presence.checkpoint} if presence.checkpoint else None,
        "facts": {"M": known} if known else None,
    }
    return {name: value for name, value in attributes.items() if value is not None}


def _held_job(item: Any) -> HeldJob:
    return HeldJob(JobId(item["M"]["id"]["S"]), OwnerId(item["M"]["owner"]["S"]))


def _facts(item: Mapping[str, Any]) -> WorkerFacts:
    texts = {name: item[name]["S"] for name in _FACTS if name in item}
    memory = item.get("gpu_memory_bytes")
    return WorkerFacts(**texts, gpu_memory_bytes=None if memory is None else int(memory["N"]))


# The facts that are texts.
_FACTS = tuple(each.name for each in fields(WorkerFacts) if each.name != "gpu_memory_bytes")
