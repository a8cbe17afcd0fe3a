"""Semaphores in the owners table, one row each.

    pk         sk      holds
    semaphore  <name>  the places that are taken {place: time at which it is free again}

A place is taken by one conditional write, so the limit is exact even if many functions enter at
once.
"""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from comfyline.adapters.aws.attributes import Item, read_time, readable_items, time_of
from comfyline.adapters.aws.errors import translated

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# The first try may find no row, and the second may find only places of functions that have died. A
# function that frees such places is refused, as if all were taken, if other functions take them
# first in each try.
MAX_TRIES = 4


class DynamoSemaphore:
    """`Semaphore` in DynamoDB."""

    def __init__(self, client: DynamoDBClient, table: str, name: str) -> None:
        self._client = client
        self._table = table
        self._key: Any = {"pk": {"S": "semaphore"}, "sk": {"S": name}}

    @translated()
    def enter(self, limit: int, *, now: datetime, until: datetime) -> str | None:
        """See Semaphore. This is one write if a place is free."""
        place = secrets.token_hex(8)
        for _ in range(MAX_TRIES):
            try:
                self._take(place, limit, until)
            except self._client.exceptions.ConditionalCheckFailedException as refusal:
                row = cast(Item, refusal.response).get("Item")
            else:
                return place
            if row is None:
                self._make_row()
            elif over := _over(row, now):
                self._remove(over)
            else:
                return None
        return None

    @translated()
    def leave(self, place: str) -> None:
        """See Semaphore."""
        self._remove([place])

    def _take(self, place: str, limit: int, until: datetime) -> None:
        self._client.update_item(
            TableName=self._table,
            Key=self._key,
            UpdateExpression="SET places.#place = :until",
            ConditionExpression="attribute_exists(pk) AND size(places) < :limit",
            ExpressionAttributeNames={"#place": place},
            ExpressionAttributeValues={
                ":until": time_of(until),
                ":limit": {"N": str(limit)},
            },
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )

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

    def _remove(self, places: list[str]) -> None:
        # This needs no condition, because each place has a new name.
        names = {f"#p{n}": place for n, place in enumerate(places)}
        self._client.update_item(
            TableName=self._table,
            Key=self._key,
            UpdateExpression="REMOVE " + ", ".join(f"places.{name}" for name in names),
            ExpressionAttributeNames=names,
        )


def _over(row: Item, now: datetime) -> list[str]:
    """The places that have expired.

    A place with an unreadable end is among them, because it would otherwise be taken for ever.
    """
    places: Item = row["places"]["M"]
    held = {
        place
        for place, until in places.items()
        if any(end > now for end in readable_items(read_time, [until]))
    }
    return [place for place in places if place not in held]
