"""Semaphores in the owners table, one row each.

    pk         sk      holds
    semaphore  <name>  the places that are taken {place: "<its end>/<its holder>/<hash of thing>"}

A place is taken by one conditional write, so the limit is exact even if many functions enter at
once. An owner's share is exact too, because the places of an owner have as many names as the share:
<hash of owner>-<n>. The first name that is tried follows from the thing, so that two functions for
the same thing meet.
"""

from __future__ import annotations

import hashlib
import random
import secrets
import zlib
from collections.abc import Sequence
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

from comfyline.adapters.aws.attributes import Item, read_time, time_of
from comfyline.adapters.aws.errors import translated
from comfyline.service.access.semaphore import Share

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# The first try may find no row, and the second may find only places of functions that have died. A
# function that frees such places is refused, as if all were taken, if other functions take them
# first in each try.
MAX_TRIES = 4
# Expired places that one write removes: an expression of DynamoDB has 4 KB at most.
MAX_REMOVED = 50


class DynamoSemaphore:
    """`Semaphore` in DynamoDB."""

    def __init__(self, client: DynamoDBClient, table: str, name: str) -> None:
        self._client = client
        self._table = table
        self._key: Any = {"pk": {"S": "semaphore"}, "sk": {"S": name}}

    @translated()
    def enter(
        self, limit: int, *, now: datetime, until: datetime, share: Share | None = None
    ) -> str | None:
        """See Semaphore. This is one write if the first place that is tried is free."""
        held = f"{time_of(until)['N']}/{secrets.token_hex(4)}/{_hash(share)}"
        names = _names(share) if share else [held]
        place: str | None = names[int(_hash(share), 16) % len(names)]
        for _ in range(MAX_TRIES):
            assert place is not None
            refused = self._refused(place, held, limit)
            if refused is None:
                return f"{place} {held}"
            if not refused:
                self._make_row()
                continue
            places: Item = refused["places"]["M"]
            if over := _over(places, now):
                self._remove(over)
            others = {name: each for name, each in places.items() if name not in over}
            place = _another(others, names, limit, _hash(share) if share else None)
            if place is None:
                return None
        return None

    @translated()
    def leave(self, place: str) -> None:
        """See Semaphore."""
        name, _, held = place.partition(" ")
        self._remove({name: {"S": held}})

    def _refused(self, place: str, held: str, limit: int) -> Item | None:
        """None if the place was taken; else the row, which is empty if there is none."""
        has_room = "attribute_exists(pk) AND size(places) < :limit"
        try:
            self._client.update_item(
                TableName=self._table,
                Key=self._key,
                UpdateExpression="SET places.#place = :held",
                ConditionExpression=f"{has_room} AND attribute_not_exists(places.#place)",
                ExpressionAttributeNames={"#place": place},
                ExpressionAttributeValues={":held": {"S": held}, ":limit": {"N": str(limit)}},
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except self._client.exceptions.ConditionalCheckFailedException as refusal:
            return cast(Item, refusal.response).get("Item") or {}
        return None

    def _make_row(self) -> None:
        """Create the row, if it is missing, because an update cannot add to a missing map."""
        try:
            self._client.put_item(
                TableName=self._table,
                Item={**self._key, "places": {"M": {}}},
                ConditionExpression="attribute_not_exists(pk)",
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return

    def _remove(self, held: Item) -> None:
        """Remove these places, unless one of them was freed or taken by another meanwhile."""
        names = {f"#p{n}": name for n, name in enumerate(held)}
        values = {f":p{n}": each for n, each in enumerate(held.values())}
        unchanged = (f"places.#p{n} = :p{n}" for n in range(len(held)))
        try:
            self._client.update_item(
                TableName=self._table,
                Key=self._key,
                UpdateExpression="REMOVE " + ", ".join(f"places.{name}" for name in names),
                ConditionExpression=" AND ".join(unchanged),
                ExpressionAttributeNames=names,
                ExpressionAttributeValues=values,
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return


def _names(share: Share) -> list[str]:
    owner = hashlib.sha256(share.owner.encode()).hexdigest()[:16]
    return [f"{owner}-{n}" for n in range(share.places)]


def _hash(share: Share | None) -> str:
    return f"{zlib.crc32(share.thing.encode()):08x}" if share else "0"


def _another(held: Item, names: Sequence[str], limit: int, thing: str | None) -> str | None:
    """A free place for the next try; None if there is none for this owner and thing."""
    if thing and any(_text(held[name]).endswith(f"/{thing}") for name in names if name in held):
        return None
    free = [name for name in names if name not in held]
    return random.choice(free) if free and len(held) < limit else None


def _over(places: Item, now: datetime) -> Item:
    """The first of the places that have expired.

    A place with an unreadable end is among them, because it would otherwise be taken for ever.
    """
    return dict(
        islice((each for each in places.items() if not _is_held(each[1], now)), MAX_REMOVED)
    )


def _is_held(place: Item, now: datetime) -> bool:
    try:
        return end_of(place) > now
    except (ValueError, ArithmeticError):
        return False


def end_of(place: Item) -> datetime:
    """When a stored place is free again.

    Raises:
        ValueError, ArithmeticError: it has no readable end.
    """
    return read_time({"N": _text(place).partition("/")[0]})


def _text(place: Item) -> str:
    return str(place.get("S") or place.get("N", ""))  # a number: only the end, of earlier code
