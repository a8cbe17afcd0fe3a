"""Read or write many items in one call; items that DynamoDB leaves unprocessed are retried."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from comfyline.service.errors import Unavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

MAX_KEYS = 100  # in one BatchGetItem; a limit of AWS
# Unprocessed items were throttled. The pauses between the tries add up to at most 1.55 s, which is
# short enough for a caller to wait.
MAX_TRIES = 6
FIRST_PAUSE_SECONDS = 0.05


def put_items(client: DynamoDBClient, table: str, items: Sequence[Any]) -> None:
    """Put up to 25 items, in any order and not atomically.

    Raises:
        Unavailable: after MAX_TRIES some items are still unprocessed.
    """
    unprocessed: Any = [{"PutRequest": {"Item": item}} for item in items]
    for _ in _tries("BatchWriteItem"):
        answer = client.batch_write_item(RequestItems={table: unprocessed})
        unprocessed = answer["UnprocessedItems"].get(table)
        if not unprocessed:
            return


def get_items(
    client: DynamoDBClient, table: str, keys: Sequence[Any], *, only: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """The existing items of these distinct keys, read consistently, in any order.

    With `only`, the items have just these attributes, and an earlier state of a moment ago counts.

    Raises:
        Unavailable: after MAX_TRIES some items are still unprocessed.
    """
    remaining = iter(keys)
    items: list[dict[str, Any]] = []
    while chunk := list(islice(remaining, MAX_KEYS)):
        items += _get_chunk(client, table, chunk, only)
    return items


def _get_chunk(
    client: DynamoDBClient, table: str, keys: Sequence[Any], only: Sequence[str]
) -> list[dict[str, Any]]:
    request: Any = {table: {"Keys": keys, "ConsistentRead": not only}}
    if only:
        names = {f"#{name}": name for name in only}  # some are reserved words
        projection = {"ProjectionExpression": ", ".join(names), "ExpressionAttributeNames": names}
        request[table] |= projection
    items: list[dict[str, Any]] = []
    for _ in _tries("BatchGetItem"):
        answer = client.batch_get_item(RequestItems=request)
        items += answer["Responses"].get(table, [])
        request = answer["UnprocessedKeys"]
        if not request:
            break
    return items


def _tries(operation: str) -> Iterator[None]:
    yield
    for n in range(MAX_TRIES - 1):
        time.sleep(random.uniform(0.5, 1) * FIRST_PAUSE_SECONDS * 2**n)
        yield
    raise Unavailable(f"{operation}: items are unprocessed after {MAX_TRIES} tries")
