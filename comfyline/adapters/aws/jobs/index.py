"""The two indexes of the jobs table. They lag by moments, so callers read the rows they name.

by_owner   owner | status, listed_at   an owner's jobs of one state, newest first
by_due     due_shard | due_at          what the sweeper must look at; sparse
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from heapq import merge
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any

from comfyline.adapters.aws.attributes import read_time, time_of
from comfyline.adapters.aws.jobs import codec
from comfyline.contract.ids import JobId, OwnerId
from comfyline.service.jobs.job import Status
from comfyline.service.jobs.store import ListPosition, LivePosition, due_shards
from comfyline.service.storage_names import BY_DUE, BY_OWNER

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


def listed(
    client: DynamoDBClient,
    table: str,
    owner: OwnerId,
    statuses: Sequence[Status],
    size: int,
    after: ListPosition | None,
) -> Iterator[JobId]:
    """The owner's jobs, newest first, each once even if its state changes during the query.

    A lazy iterator; it queries pages of `size` jobs per state.
    """
    # The states are queried in the order of a job's life, so that a job that changes its state
    # meanwhile is found in its new state.
    by_status = [_listed_as(client, table, owner, s, size, after) for s in statuses]
    seen: set[str] = set()
    for _listed_at, job_id in merge(*by_status, reverse=True):
        if job_id not in seen:
            seen.add(job_id)
            yield JobId(job_id)


def _listed_as(
    client: DynamoDBClient,
    table: str,
    owner: OwnerId,
    status: Status,
    size: int,
    after: ListPosition | None,
) -> Iterator[tuple[str, str]]:
    condition = "#owner = :owner AND #status = :status"
    values: dict[str, Any] = {":owner": {"S": owner}, ":status": {"S": status.value}}
    if after is not None:
        condition += " AND listed_at < :after"
        values[":after"] = {"S": codec.listed_at(after.queued_at, after.job_id)}
    pages = client.get_paginator("query").paginate(
        TableName=table,
        IndexName=BY_OWNER,
        KeyConditionExpression=condition,
        ExpressionAttributeNames={"#owner": "owner", "#status": "status"},  # reserved words
        ExpressionAttributeValues=values,
        ScanIndexForward=False,
        PaginationConfig={"PageSize": size},
    )
    for page in pages:
        for item in page["Items"]:
            yield item["listed_at"]["S"], item["pk"]["S"]


def due(
    client: DynamoDBClient, table: str, shard: str, now: datetime, limit: int
) -> Iterator[JobId]:
    """Up to `limit` jobs of the shard that are due, most overdue first."""
    pages = client.get_paginator("query").paginate(
        TableName=table,
        IndexName=BY_DUE,
        KeyConditionExpression="due_shard = :shard AND due_at <= :now",
        ExpressionAttributeValues={":shard": {"S": shard}, ":now": time_of(now)},
        PaginationConfig={"PageSize": limit},
    )
    found = (JobId(item["pk"]["S"]) for page in pages for item in page["Items"])
    return islice(found, limit)


def live(
    client: DynamoDBClient, table: str, size: int, after: LivePosition | None
) -> Iterator[LivePosition]:
    """The jobs that are not settled, after that position, in order.

    A lazy iterator; it queries pages of `size` jobs per shard.
    """
    since = after.due_at if after is not None else datetime.fromtimestamp(0, UTC)
    shards = (
        _in_order(_due_from(client, table, s, since, size)) for s in due_shards(settled=False)
    )
    return (place for place in merge(*shards) if after is None or place > after)


def _due_from(
    client: DynamoDBClient, table: str, shard: str, since: datetime, size: int
) -> Iterator[LivePosition]:
    pages = client.get_paginator("query").paginate(
        TableName=table,
        IndexName=BY_DUE,
        KeyConditionExpression="due_shard = :shard AND due_at >= :since",
        ExpressionAttributeValues={":shard": {"S": shard}, ":since": time_of(since)},
        PaginationConfig={"PageSize": size},
    )
    return (_position(item) for page in pages for item in page["Items"])


def _in_order(places: Iterable[LivePosition]) -> Iterator[LivePosition]:
    """The same places, with those of one time in the order of their ids, which no index keeps."""
    for _, same_time in groupby(places, lambda place: place.due_at):
        yield from sorted(same_time)


def last_due(client: DynamoDBClient, table: str, limit: int) -> list[JobId]:
    """Up to `limit` jobs that are not settled: those that are due last. Each shard is queried."""
    found = list[LivePosition]()
    for shard in due_shards(settled=False):
        answer = client.query(
            TableName=table,
            IndexName=BY_DUE,
            KeyConditionExpression="due_shard = :shard",
            ExpressionAttributeValues={":shard": {"S": shard}},
            ScanIndexForward=False,
            Limit=limit,
        )
        found += map(_position, answer["Items"])
    return [place.job_id for place in sorted(found, reverse=True)[:limit]]


def _position(item: Any) -> LivePosition:
    return LivePosition(read_time(item["due_at"]), JobId(item["pk"]["S"]))
