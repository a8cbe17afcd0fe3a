"""The items beside a job's row: its parameters and its compiled graph.

The module comment of `table.py` lists their names. Their bodies are compressed JSON. The
items of results are made in `results.py`.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, fields
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar, cast

from comfyline.adapters.aws.attributes import Item, readable_items, time_of, ttl_of
from comfyline.contract.ids import JobId
from comfyline.service.errors import SEND_FILES, RequestTooLarge
from comfyline.service.graphs.graph import Graph, canonical_json, faithful_json
from comfyline.service.jobs.job import Job, JobParams

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# DynamoDB accepts items of up to 400 KB; keys and other attributes need well under 1 KB of that.
MAX_BODY_BYTES = 399 * 1024
# A write unit is 1 KB; keys and times take less than 160 bytes of it.
MAX_WHOLE_BYTES = 1024 - 160

# DynamoDB removes the items of a job this long after the latest end of the retention of a job that
# starts in time and is not interrupted. A job that is given back again and again may end later. The
# margin is longer than SQS keeps the ticket of such a job.
ORPHAN_MARGIN = timedelta(days=14)

ROW = "job"

_T = TypeVar("_T")


def key(job_id: JobId, sk: str) -> dict[str, Any]:
    """The primary key of an item."""
    return {"pk": {"S": job_id}, "sk": {"S": sk}}


# --- sort keys ------------------------------------------------------------------------------------


def request_sk(job: Job) -> str:
    """The parameters and the graph in one item."""
    return f"{ROW}#request#{job.fingerprint}"


def params_sk(job: Job) -> str:
    """The parameters, if the graph has its own item."""
    return f"{ROW}#params#{job.fingerprint}"


def graph_sk(job: Job) -> str:
    """The graph, if it is too large to share an item with the parameters."""
    return f"input#{job.fingerprint}"


def pnginfo_sk(job: Job) -> str:
    """What ComfyUI writes into pictures, if the caller sent any. No read of a job finds it."""
    return f"pnginfo#{job.fingerprint}"


# Between these are the row, the request and its parts. Only the lists of results are before them.
FIRST_OF_WORK, LAST_OF_WORK = "input#", "pnginfo$"


# --- items ----------------------------------------------------------------------------------------


def request_items(
    job: Job, params: JobParams, graph: Graph, extra_pnginfo: Mapping[str, Any] | None
) -> list[Item]:
    """Parameters and graph in one item if it fits into one write unit, else in two.

    Raises:
        RequestTooLarge: a compressed part of the request does not fit into one item.
    """
    bodies = _input_bodies(job, params, graph)
    if extra_pnginfo:
        bodies[pnginfo_sk(job)] = pack_faithfully(extra_pnginfo)
    if any(len(body) > MAX_BODY_BYTES for body in bodies.values()):
        raise RequestTooLarge(
            f"A request has at most {MAX_BODY_BYTES} bytes, compressed. {SEND_FILES}"
        )
    return [sibling_item(job, sk, body) for sk, body in bodies.items()]


def _input_bodies(job: Job, params: JobParams, graph: Graph) -> dict[str, bytes]:
    packed = pack_faithfully(graph)
    if len(packed) <= MAX_WHOLE_BYTES:  # if not, packing a large graph again would be for nothing
        whole = packed_request(params, graph)
        if len(whole) <= MAX_WHOLE_BYTES:
            return {request_sk(job): whole}
    # The two have other names than the whole. After an upgrade of the service, a replay may compile
    # to a larger graph; it must not overwrite what the first post stored, because a worker may have
    # started to read it.
    return {params_sk(job): packed_params(params), graph_sk(job): packed}


def sibling_item(job: Job, sk: str, body: bytes) -> dict[str, Any]:
    """An item beside the job's row, with this name and body."""
    return {
        **key(job.id, sk),
        "body": {"B": body},
        "queued_at": time_of(job.queued_at),
        "ttl": ttl_of(job.start_deadline + job.retention + ORPHAN_MARGIN),
    }


def params_of(item: Item | None) -> JobParams:
    """The parameters in a request item; empty ones if there is no item that can be read."""
    items = [item] if item else []
    found = readable_items(lambda item: unpacked_params(item["body"]["B"]), items)
    return found[0] if found else JobParams(params={})


def graph_in(items: Mapping[str, Item], job: Job) -> Graph | None:
    """The job's graph, if these items have it and it can be read."""
    if whole := items.get(request_sk(job)):
        return _first(readable_items(lambda item: unpacked_graph(item["body"]["B"]), [whole]))
    alone = [item for item in (items.get(graph_sk(job)),) if item]
    return _first(readable_items(lambda item: cast(Graph, unpack(item["body"]["B"])), alone))


def pnginfo_in(items: Mapping[str, Item], job: Job) -> Mapping[str, Any] | None:
    """What ComfyUI writes into the job's pictures, if these items have it and it can be read."""
    if not job.options.has_pnginfo:
        return {}
    found = [item for item in (items.get(pnginfo_sk(job)),) if item]
    return _first(readable_items(lambda item: unpack(item["body"]["B"]), found))


def _first(found: Sequence[_T]) -> _T | None:
    return found[0] if found else None


def query(
    client: DynamoDBClient, table: str, job_id: JobId, condition: str, **values: str
) -> dict[str, Item]:
    """The job's items that meet a condition on the sort key, in its order, read consistently."""
    placeholders = {f":{name}": {"S": value} for name, value in values.items()}
    pages = client.get_paginator("query").paginate(
        TableName=table,
        KeyConditionExpression=f"pk = :pk AND {condition}",
        ExpressionAttributeValues={":pk": {"S": job_id}, **placeholders},
        ConsistentRead=True,
    )
    return {item["sk"]["S"]: item for page in pages for item in page["Items"]}


# --- removal --------------------------------------------------------------------------------------


def delete_all(client: DynamoDBClient, table: str, job: Job) -> None:
    """Delete all items beside the row, except those of a later job of the same id."""
    for sk in names(client, table, job.id):
        _delete(client, table, job, sk)


def names(client: DynamoDBClient, table: str, job_id: JobId) -> list[str]:
    """The sort keys of all items beside the row."""
    pages = client.get_paginator("query").paginate(
        TableName=table,
        KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues={":pk": {"S": job_id}},
        ProjectionExpression="sk",
        ConsistentRead=True,
    )
    found = [item["sk"]["S"] for page in pages for item in page["Items"]]
    return [sk for sk in found if sk != ROW]


def _delete(client: DynamoDBClient, table: str, job: Job, sk: str) -> None:
    end = job.expires_at or job.queued_at + timedelta.resolution
    with suppress(client.exceptions.ConditionalCheckFailedException):
        client.delete_item(
            TableName=table,
            Key=key(job.id, sk),
            ConditionExpression="queued_at < :end",
            ExpressionAttributeValues={":end": time_of(end)},
        )


# --- bodies ---------------------------------------------------------------------------------------


def pack(value: Any) -> bytes:
    """Compressed JSON; equal values give equal bytes."""
    return zlib.compress(canonical_json(value))


def pack_faithfully(value: Any) -> bytes:
    """Compressed JSON of a caller's value; see `faithful_json`."""
    return zlib.compress(faithful_json(value))


def unpack(body: bytes) -> Any:
    """The value that was packed."""
    return json.loads(zlib.decompress(body))


def packed_params(params: JobParams) -> bytes:
    """The body of an item of parameters."""
    return pack(asdict(params))


def unpacked_params(body: bytes) -> JobParams:
    """The parameters, from an item that holds them alone or with the graph."""
    return known_fields(JobParams, unpack(body))


def packed_request(params: JobParams, graph: Graph) -> bytes:
    """The body of an item of parameters and graph."""
    return pack_faithfully({**asdict(params), "graph": graph})


def unpacked_graph(body: bytes) -> Graph:
    """The graph, from an item of parameters and graph."""
    return cast(Graph, unpack(body)["graph"])


def known_fields(cls: Callable[..., _T], values: Mapping[str, Any]) -> _T:
    """An instance of `cls`; fields that newer code has added are ignored."""
    names = {field.name for field in fields(cast(Any, cls))}
    return cls(**{name: value for name, value in values.items() if name in names})
