"""Slots in the owners table.

    pk         sk                           holds
    slots#<n>  <owner>#part#<part>          the number of slots in this part
    slots#<n>  <owner>#rate                 the posts of one minute
    slots#<n>  <owner>#slot#<time>#<job>    a slot: the part that counts it

One transaction writes a slot and the counter of its part, so a cap is exact even if many posts
arrive at once. <time> has a fixed width, so the slots of an owner are sorted by age. <n> is a hash
of the owner.
"""

from __future__ import annotations

import random
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from comfyline.adapters.aws.attributes import Item, readable_items
from comfyline.adapters.aws.errors import translated
from comfyline.adapters.aws.pauses import jittered
from comfyline.contract.ids import JobId, OwnerId
from comfyline.service.access.slots import (
    OWNER_SHARDS,
    Limits,
    Occupancy,
    Refusal,
    Slot,
    minute_of,
    shares,
)
from comfyline.service.errors import Unavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# Of two concurrent transactions on one counter, DynamoDB cancels one. The pauses add up to 2 s on
# average, which is enough for 50 posts of one owner with a single part.
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, MAX_TRIES = 0.02, 0.5, 14

_CONDITION_FAILED = "ConditionalCheckFailed"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIME_DIGITS = 14  # of microseconds since 1970, in hexadecimal: enough for 2,000 years


@dataclass(frozen=True, slots=True)
class _Counts:
    """What the counters of an owner hold."""

    parts: dict[int, int]
    minute: int = 0
    posts: int = 0

    def refusal(self, limits: Limits, now: datetime) -> Refusal | None:
        cap, rate = limits.max_active_jobs, limits.jobs_per_minute
        if cap is not None and not self.parts_with_room(cap):
            return Refusal.CAP
        is_over = rate is not None and self.minute >= minute_of(now) and self.posts >= rate
        return Refusal.RATE if is_over else None

    def parts_with_room(self, cap: int) -> list[tuple[int, int]]:
        """Each part that may hold one more slot, and its share."""
        found = shares(cap, self.parts).items()
        return [(part, share) for part, share in found if self.parts.get(part, 0) < share]


class DynamoOwnerStore:
    """`OwnerStore` in DynamoDB."""

    def __init__(
        self,
        client: DynamoDBClient,
        table: str,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._table = table
        self._sleep = sleep

    # --- taking -----------------------------------------------------------------------------------

    @translated()
    def take_slot(
        self, owner: OwnerId, slot: Slot, limits: Limits, now: datetime
    ) -> Refusal | None:
        """See OwnerStore: a read, with a rate also a write, and with a cap a transaction."""
        counts = self._counts(owner)
        if refusal := counts.refusal(limits, now):
            return refusal
        rate, cap = limits.jobs_per_minute, limits.max_active_jobs
        minute = max(minute_of(now), counts.minute)  # clocks differ: never back to an older one
        if rate is not None and not self._count_post(owner, rate, minute):
            return Refusal.RATE
        return None if cap is None else self._take(owner, slot, cap, counts)

    def _take(self, owner: OwnerId, slot: Slot, cap: int, counts: _Counts) -> Refusal | None:
        for _ in self._tries():
            parts = counts.parts_with_room(cap)
            if not parts:
                return Refusal.CAP
            part, share = random.choice(parts)
            reasons = self._write(self._put(owner, slot, part), self._count(owner, part, 1, share))
            if not reasons or reasons[0] == _CONDITION_FAILED:  # the latter: it is taken already
                return None
            counts = self._counts(owner)  # another post was in the way, and may have filled the cap
        raise Unavailable(f"owner {owner} posts too many jobs at once")

    def _counts(self, owner: OwnerId) -> _Counts:
        parts, rate = dict[int, int](), dict[str, int]()
        between = {":from": f"{owner}#part#", ":to": f"{owner}#rate"}
        for row in self._query(owner, "sk BETWEEN :from AND :to", between):
            _owner, kind, *part = row["sk"]["S"].split("#")
            if kind == "part":
                parts[int(part[0])] = int(row["n"]["N"])
            else:
                rate = {name: int(row[name]["N"]) for name in ("minute", "posts")}
        return _Counts(parts, **rate)

    def _count_post(self, owner: OwnerId, rate: int, minute: int) -> bool:
        """Count one post of this minute; False if there were `rate` already."""
        # Post A, minute 7: the row is in minute 7, so it adds one.
        # Post B, minute 8: refused, because the row is in minute 7. Its second try starts minute 8.
        # Post C, minute 8, was faster: B's second try is refused too, and its third adds one.
        is_same, is_older = "#minute = :minute AND posts < :rate", "#minute < :minute"
        first = f"attribute_not_exists(pk) OR {is_older}"
        values = {":minute": minute, ":one": 1}
        for update, condition, known in (
            ("SET posts = posts + :one", is_same, values | {":rate": rate}),
            ("SET posts = :one, #minute = :minute", first, values),
            ("SET posts = posts + :one", is_same, values | {":rate": rate}),
        ):
            if self._update_rate(owner, update, condition, known):
                return True
        return False

    def _update_rate(
        self, owner: OwnerId, update: str, condition: str, values: dict[str, int]
    ) -> bool:
        try:
            self._client.update_item(
                TableName=self._table,
                Key=_key(owner, "rate"),
                UpdateExpression=update,
                ConditionExpression=condition,
                ExpressionAttributeNames={"#minute": "minute"},
                ExpressionAttributeValues={n: {"N": str(value)} for n, value in values.items()},
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    # --- moving and freeing -----------------------------------------------------------------------

    @translated()
    def move_slot(self, owner: OwnerId, slot: Slot, to: Slot) -> bool:
        """See OwnerStore. The counters stay as they are, so no other post can take it meanwhile."""
        for _ in self._tries():
            part = self._part_of(owner, slot)
            if part is None:
                return False
            reasons = self._write(self._put(owner, to, part), self._delete(owner, slot))
            if not reasons:
                return True
            if reasons[0] == _CONDITION_FAILED:
                self.free_slot(owner, slot)
                return True
        raise Unavailable(f"a slot of {owner} was not moved")

    @translated()
    def free_slot(self, owner: OwnerId, slot: Slot) -> None:
        """See OwnerStore: a read, and a transaction if the slot is taken."""
        for _ in self._tries():
            part = self._part_of(owner, slot)
            if part is None:
                return
            if not self._write(self._delete(owner, slot), self._count(owner, part, -1)):
                return
        raise Unavailable(f"a slot of {owner} was not freed")

    def _part_of(self, owner: OwnerId, slot: Slot) -> int | None:
        """The part that counts the slot; None if it is free."""
        key = _slot_key(owner, slot)
        answer = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True)
        item: Any = answer.get("Item")
        return int(item["part"]["N"]) if item else None

    # --- listing ----------------------------------------------------------------------------------

    @translated()
    def occupancy(self, owner: OwnerId, now: datetime) -> Occupancy:
        """See OwnerStore: one query of at most 101 small rows."""
        counts = self._counts(owner)
        posts = counts.posts if counts.minute == minute_of(now) else 0
        return Occupancy(sum(counts.parts.values()), posts)

    @translated()
    def oldest_slots(self, owner: OwnerId, limit: int) -> list[Slot]:
        """See OwnerStore."""
        prefix = {":slots": f"{owner}#slot#"}
        rows = self._query(owner, "begins_with(sk, :slots)", prefix, limit)
        return [slot for _, slot in readable_items(slot_of, rows)]

    @translated()
    def slots(self, shard: int) -> list[tuple[OwnerId, Slot]]:
        """See OwnerStore."""
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": f"slots#{shard}"}},
        )
        rows = (row for page in pages for row in page["Items"] if "part" in row)
        return readable_items(slot_of, rows)

    def _query(
        self, owner: OwnerId, keys: str, values: dict[str, str], limit: int | None = None
    ) -> Sequence[Any]:
        """The first page of the owner's rows, read consistently. All counters fit into it."""
        options: Any = {"Limit": limit} if limit else {}
        known = {
            ":pk": slots_shard(owner),
            **{name: {"S": value} for name, value in values.items()},
        }
        answer = self._client.query(
            TableName=self._table,
            KeyConditionExpression=f"pk = :pk AND {keys}",
            ExpressionAttributeValues=known,
            ConsistentRead=True,
            **options,
        )
        return answer["Items"]

    # --- transactions -----------------------------------------------------------------------------

    def _tries(self) -> Iterator[None]:
        yield
        for pause in jittered(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, MAX_TRIES):
            self._sleep(pause)
            yield

    def _write(self, *writes: Any) -> Sequence[str]:
        """Make all writes or none; returns the codes of the reasons if it was none."""
        try:
            self._client.transact_write_items(TransactItems=writes)
        except self._client.exceptions.TransactionCanceledException as error:
            reasons = cast(Any, error.response)["CancellationReasons"]
            return [reason.get("Code", "None") for reason in reasons]
        return ()

    def _put(self, owner: OwnerId, slot: Slot, part: int) -> dict[str, Any]:
        item = {**_slot_key(owner, slot), "part": {"N": str(part)}}
        return self._action("Put", "attribute_not_exists(pk)", Item=item)

    def _delete(self, owner: OwnerId, slot: Slot) -> dict[str, Any]:
        return self._action("Delete", "attribute_exists(pk)", Key=_slot_key(owner, slot))

    def _count(
        self, owner: OwnerId, part: int, more: int, below: int | None = None
    ) -> dict[str, Any]:
        """Add to the part's counter, if it is below a bound."""
        bound = {} if below is None else {":below": {"N": str(below)}}
        condition = "attribute_not_exists(n) OR n < :below" if bound else "attribute_exists(n)"
        return self._action(
            "Update",
            condition,
            Key=_key(owner, f"part#{part}"),
            UpdateExpression="ADD n :more",
            ExpressionAttributeValues={":more": {"N": str(more)}, **bound},
        )

    def _action(self, kind: str, condition: str, **parameters: Any) -> dict[str, Any]:
        table = {"TableName": self._table, "ConditionExpression": condition}
        return {kind: {**table, **parameters}}


def slots_shard(owner: OwnerId) -> dict[str, str]:
    """The partition of the owner's slots and counters."""
    return {"S": f"slots#{zlib.crc32(owner.encode()) % OWNER_SHARDS}"}


def _key(owner: OwnerId, name: str) -> dict[str, Any]:
    return {"pk": slots_shard(owner), "sk": {"S": f"{owner}#{name}"}}


def _slot_key(owner: OwnerId, slot: Slot) -> dict[str, Any]:
    microseconds = (slot.queued_at - _EPOCH) // timedelta.resolution
    return _key(owner, f"slot#{microseconds:0{_TIME_DIGITS}x}#{slot.job_id}")


def slot_of(row: Item) -> tuple[OwnerId, Slot]:
    """The owner and the slot of a row, from its sort key."""
    owner, _slot, microseconds, job_id = row["sk"]["S"].split("#")
    queued_at = _EPOCH + timedelta(microseconds=int(microseconds, 16))
    return OwnerId(owner), Slot(JobId(job_id), queued_at)
