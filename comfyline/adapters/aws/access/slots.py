"""Slots in the owners table: one row for each owner with a limit.

    pk          sk        holds
    shard#<n>   <owner>   the slots {job id: time at which it was taken}, the posts of one minute

A slot is taken by one conditional write, so a cap is exact even if many posts arrive at once.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from comfyline.adapters.aws.attributes import Item, read_time, time_of
from comfyline.adapters.aws.errors import translated
from comfyline.contract.ids import JobId, OwnerId
from comfyline.service.access.slots import OWNER_SHARDS, Full, Limits, Taken, minute_of
from comfyline.service.errors import Unavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# A post that loses the race for a minute's first post sees that minute in its next try, so it does
# not lose this race again.
MAX_TRIES = 5


class DynamoOwnerStore:
    """`OwnerStore` in DynamoDB."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    # --- slots ------------------------------------------------------------------------------------

    @translated()
    def take_slot(
        self, owner: OwnerId, job_id: JobId, limits: Limits, now: datetime
    ) -> Taken | Full:
        """See OwnerStore. This is one write, and a second one for the first post of a minute."""
        # Post A, minute 7, 4 of 5 slots are taken: it takes the fifth.
        # Post B, minute 7: refused. The error contains the row, which shows the reason.
        # Post C, minute 8: refused, because the row is still in minute 7. The second try has the
        # condition that the row is in minute 7, and succeeds.
        known: int | None = minute_of(now)
        for _ in range(MAX_TRIES):
            try:
                return Taken(self._take(owner, job_id, limits, now, known), now)
            except self._client.exceptions.ConditionalCheckFailedException as refusal:
                row = cast(Item, refusal.response).get("Item") or {}
            if not row:
                self._make_row(owner)
                known = None
            elif (full := _full(row, job_id, limits, now)) is not None:
                return full
            else:
                known = int(row["minute"]["N"]) if "minute" in row else None
        raise Unavailable(f"owner {owner} posts too many jobs at once")

    def _take(
        self, owner: OwnerId, job_id: JobId, limits: Limits, now: datetime, known: int | None
    ) -> bool:
        """Try once to take the slot, if the row is in the minute `known`.

        Returns whether the slot was free before.
        """
        minute = minute_of(now)
        values: dict[str, Any] = {":now": time_of(now), ":minute": {"N": str(minute)}}
        posts = "posts + :one" if known == minute else ":one"
        conditions = ["attribute_exists(pk)"]
        if known is None:
            conditions.append("attribute_not_exists(#minute)")
        else:
            conditions.append("#minute = :known")
            values[":known"] = {"N": str(known)}
        if limits.max_active_jobs is not None:
            conditions.append("(attribute_exists(slots.#job) OR size(slots) < :cap)")
            values[":cap"] = {"N": str(limits.max_active_jobs)}
        if limits.jobs_per_minute is not None and known == minute:
            conditions.append("posts < :rate")
            values[":rate"] = {"N": str(limits.jobs_per_minute)}
        answer = self._client.update_item(
            TableName=self._table,
            Key=_key(owner),
            UpdateExpression=f"SET slots.#job = :now, #minute = :minute, posts = {posts}",
            ConditionExpression=" AND ".join(conditions),
            ExpressionAttributeNames={"#job": job_id, "#minute": "minute"},
            ExpressionAttributeValues={**values, ":one": {"N": "1"}},
            ReturnValues="ALL_OLD",
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
        return job_id not in answer["Attributes"]["slots"]["M"]

    def _make_row(self, owner: OwnerId) -> None:
        """Create the row, if it is missing, because an update cannot add to a missing map."""
        try:
            self._client.put_item(
                TableName=self._table,
                Item={**_key(owner), "slots": {"M": {}}},
                ConditionExpression="attribute_not_exists(pk)",
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return

    def give_back(self, owner: OwnerId, job_id: JobId, taken: Taken) -> None:
        """See OwnerStore."""
        self._remove_slot(owner, job_id, "slots.#job = :time", taken.at)

    def free_slot(self, owner: OwnerId, job_id: JobId, ended_at: datetime) -> None:
        """See OwnerStore."""
        self._remove_slot(owner, job_id, "slots.#job <= :time", ended_at)

    @translated()
    def _remove_slot(self, owner: OwnerId, job_id: JobId, condition: str, time: datetime) -> None:
        try:
            self._client.update_item(
                TableName=self._table,
                Key=_key(owner),
                UpdateExpression="REMOVE slots.#job",
                ConditionExpression=condition,
                ExpressionAttributeNames={"#job": job_id},
                ExpressionAttributeValues={":time": time_of(time)},
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return

    @translated()
    def slots(self, shard: int) -> list[tuple[OwnerId, Mapping[JobId, datetime]]]:
        """See OwnerStore."""
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": f"shard#{shard}"}},
        )
        rows = [(OwnerId(row["sk"]["S"]), _slots(row)) for page in pages for row in page["Items"]]
        return [(owner, slots) for owner, slots in rows if slots]


def _key(owner: OwnerId) -> dict[str, Any]:
    shard = zlib.crc32(owner.encode()) % OWNER_SHARDS
    return {"pk": {"S": f"shard#{shard}"}, "sk": {"S": owner}}


def _slots(row: Any) -> dict[JobId, datetime]:
    slots = row.get("slots", {"M": {}})["M"]
    return {JobId(job_id): read_time(time) for job_id, time in slots.items()}


def _full(row: Any, job_id: JobId, limits: Limits, now: datetime) -> Full | None:
    """Why the row refused the post; None if only because the row is in another minute."""
    slots = _slots(row)
    cap, rate = limits.max_active_jobs, limits.jobs_per_minute
    if cap is not None and job_id not in slots and len(slots) >= cap:
        return Full(slots, by_rate=False)
    is_this_minute = int(row.get("minute", {"N": "0"})["N"]) == minute_of(now)
    if rate is not None and is_this_minute and int(row["posts"]["N"]) >= rate:
        return Full(slots, by_rate=True)
    return None
