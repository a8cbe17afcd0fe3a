"""Many items in one call: what DynamoDB leaves over is asked for again, up to a bound."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from comfyline.service.errors import Unavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

MAX_KEYS = 100  # of one BatchGetItem, by AWS
MAX_TRIES = (
    6  # what is left over was throttled; the pauses add up to 1.5 s, which a caller can bear
)
FIRST_PAUSE_SECONDS = 0.05


def put_items(client: DynamoDBClient, table: str, items: Sequence[Any]) -> None:
    """Put up to 25 items, in no order and not atomically.

    Raises:
        Unavailable: some are still left over.
    """
    left: Any = [{"PutRequest": {"Item": item}} for item in items]
    for _ in _tries("BatchWriteItem"):
        left = client.batch_write_item(RequestItems={table: left})["UnprocessedItems"].get(table)
        if not left:
            return


def get_items(client: DynamoDBClient, table: str, keys: Sequence[Any]) -> list[dict[str, Any]]:
    """The items that exist, read consistently, in no order; the keys are distinct.

    Raises:
        Unavailable: some are still left over.
    """
    waiting = iter(keys)
    items: list[dict[str, Any]] = []
    while chunk := list(islice(waiting, MAX_KEYS)):
        items += _get_chunk(client, table, chunk)
    return items


def _get_chunk(client: DynamoDBClient, table: str, keys: Sequence[Any]) -> list[dict[str, Any]]:
    request: Any = {table: {"Keys": keys, "ConsistentRead": True}}
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
    raise Unavailable(f"{operation}: items left over")
