"""The items beside a job's row: its parameters, its compiled graph and its results.

The module comment of `table.py` lists their names. Their bodies are compressed JSON.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, fields, replace
from datetime import timedelta
from math import ceil
from typing import TYPE_CHECKING, Any, TypeVar, cast

from comfyline.adapters.aws.attributes import Item, time_of, ttl_of
from comfyline.contract.ids import JobId
from comfyline.service.errors import RequestTooLarge
from comfyline.service.graphs.graph import Graph, canonical_json
from comfyline.service.jobs.job import Job, JobParams
from comfyline.service.jobs.result import Artifact, JobResult, ResultWarning

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# DynamoDB accepts items of up to 400 KB; keys and other attributes need well under 1 KB of that.
MAX_BODY_BYTES = 399 * 1024
# A write unit is 1 KB; keys and times take less than 160 bytes of it.
MAX_WHOLE_BYTES = 1024 - 160

# Never change it: which part holds an artifact follows from the artifact's number. Names, keys and
# node ids are bounded, so that this many artifacts and the rest of a result fit into one item.
ARTIFACTS_PER_PART = 100

# Longer than any job can exist, however often it is retried. Items that no job claims are removed
# by DynamoDB after it.
ORPHAN_MARGIN = timedelta(days=30)

ROW = "job"
_PART = re.compile(r"(?:job#)?artifacts#([^#]+)(?:#\d+)?")

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


def result_sk(job: Job) -> str:
    """The result of the job's attempt, with its first artifacts."""
    return f"{ROW}#artifacts#{job.incarnation}-{job.attempt}"


def part_sk(job: Job, part: int) -> str:
    """The artifacts from number `part * ARTIFACTS_PER_PART` on.

    The first part is in the item of the result. A query for a job's row does not find the others.
    """
    is_first = part == 0
    return result_sk(job) if is_first else f"artifacts#{job.incarnation}-{job.attempt}#{part:05}"


def part_of(number: int) -> int:
    """The part that has the artifact with this number."""
    return number // ARTIFACTS_PER_PART


def first_number(sk: str) -> int:
    """The number of the first artifact of the part with this name."""
    return 0 if sk.startswith(ROW) else int(sk.rpartition("#")[2]) * ARTIFACTS_PER_PART


def attempt_of(sk: str) -> str | None:
    """The attempt whose artifacts the item with this name lists; None if it lists none.

    It is the end of the attempt's `attempt_path`.
    """
    match = _PART.fullmatch(sk)
    return match[1] if match else None


# --- items ----------------------------------------------------------------------------------------


def request_items(job: Job, params: JobParams, graph: Graph) -> list[Item]:
    """One item if it fits into one write unit, else two.

    Raises:
        RequestTooLarge: the compressed graph or parameters do not fit into one item.
    """
    packed = pack(graph)
    if len(packed) <= MAX_WHOLE_BYTES:  # if not, packing a large graph again would be for nothing
        whole = packed_request(params, graph)
        if len(whole) <= MAX_WHOLE_BYTES:
            return [_item(job, request_sk(job), whole)]
    # The two have other names than the whole. After an upgrade of the service, a replay may compile
    # to a larger graph; it must not overwrite what the first post stored, because a worker may have
    # started to read it.
    bodies = {params_sk(job): packed_params(params), graph_sk(job): packed}
    if any(len(body) > MAX_BODY_BYTES for body in bodies.values()):
        raise RequestTooLarge(f"A request has at most {MAX_BODY_BYTES} bytes, compressed.")
    return [_item(job, sk, body) for sk, body in bodies.items()]


def result_items(job: Job, result: JobResult) -> list[Item]:
    """The whole result of the job's attempt: every part, the first one last.

    Raises:
        ValueError: a part does not fit into an item, or is not JSON.
    """
    first, *others = part_items(job, result.artifacts) or [_item(job, result_sk(job), pack([]))]
    about = {"about": {"B": packed_about(result)}}
    return [*others, _sized(first | about)]


def part_items(job: Job, artifacts: Sequence[Artifact], *, known: int = 0) -> list[dict[str, Any]]:
    """The parts of the list that have artifacts from number `known` on.

    Raises:
        ValueError: a part does not fit into an item.
    """
    changed = range(known // ARTIFACTS_PER_PART, ceil(len(artifacts) / ARTIFACTS_PER_PART))
    return [_part_item(job, part, artifacts) for part in changed]


def _part_item(job: Job, part: int, artifacts: Sequence[Artifact]) -> dict[str, Any]:
    first = part * ARTIFACTS_PER_PART
    listed = artifacts[first : first + ARTIFACTS_PER_PART]
    return _sized(_item(job, part_sk(job, part), packed_artifacts(listed)))


def _sized(item: dict[str, Any]) -> dict[str, Any]:
    size = sum(len(value["B"]) for value in item.values() if "B" in value)
    if size > MAX_BODY_BYTES:
        raise ValueError(f"{item['sk']['S']} has {size} bytes; an item has {MAX_BODY_BYTES}.")
    return item


def result_of(item: Item | None, job: Job) -> tuple[JobResult, int]:
    """The result in its item, with its first artifacts, and how many artifacts it has in all.

    The item of an attempt that has not ended by itself holds artifacts alone, and the row counts
    them. Older code has written such items, too, with all artifacts of the attempt.
    """
    if item is None:
        return JobResult(), 0
    artifacts = unpacked_artifacts(item["body"]["B"])
    about = unpack(item["about"]["B"]) if "about" in item else {}
    parts = {
        "artifacts": artifacts,
        "values_cut": tuple(about.get("values_cut", ())),
        "warnings": tuple(_known_fields(ResultWarning, w) for w in about.get("warnings", ())),
    }
    counted = max(job.stored, len(artifacts))
    return _known_fields(JobResult, about | parts), about.get("artifacts_total", counted)


def artifacts_in(parts: Mapping[str, Item], numbers: range) -> tuple[Artifact, ...]:
    """The artifacts with these numbers, from the parts of a list."""
    found = {
        number: artifact
        for sk, item in parts.items()
        for number, artifact in enumerate(unpacked_artifacts(item["body"]["B"]), first_number(sk))
    }
    return tuple(found[number] for number in numbers if number in found)


def _item(job: Job, sk: str, body: bytes) -> dict[str, Any]:
    return {
        **key(job.id, sk),
        "body": {"B": body},
        "queued_at": time_of(job.queued_at),
        "ttl": ttl_of(job.start_deadline + job.retention + ORPHAN_MARGIN),
    }


def params_of(item: Item | None) -> JobParams:
    """The parameters in a request item; empty ones if there is no item."""
    return unpacked_params(item["body"]["B"]) if item else JobParams(params={})


# --- removal --------------------------------------------------------------------------------------


def delete_all(client: DynamoDBClient, table: str, job: Job) -> None:
    """Delete all items beside the row, except those of a later job of the same id."""
    for sk in _names(client, table, job.id):
        _delete(client, table, job, sk)


def _names(client: DynamoDBClient, table: str, job_id: JobId) -> list[str]:
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


def unpack(body: bytes) -> Any:
    """The value that was packed."""
    return json.loads(zlib.decompress(body))


def packed_params(params: JobParams) -> bytes:
    """The body of an item of parameters."""
    return pack(asdict(params))


def unpacked_params(body: bytes) -> JobParams:
    """The parameters, from an item that holds them alone or with the graph."""
    return _known_fields(JobParams, unpack(body))


def packed_request(params: JobParams, graph: Graph) -> bytes:
    """The body of an item of parameters and graph."""
    return pack({**asdict(params), "graph": graph})


def unpacked_graph(body: bytes) -> Graph:
    """The graph, from an item of parameters and graph."""
    return cast(Graph, unpack(body)["graph"])


def packed_artifacts(artifacts: Sequence[Artifact]) -> bytes:
    """The body of an artifact list."""
    return pack([asdict(artifact) for artifact in artifacts])


def packed_about(result: JobResult) -> bytes:
    """The result without its artifacts, but with their number."""
    total = {"artifacts_total": len(result.artifacts)}
    return pack(asdict(replace(result, artifacts=())) | total)


def unpacked_artifacts(body: bytes) -> tuple[Artifact, ...]:
    """The artifacts of a list."""
    return tuple(_known_fields(Artifact, values) for values in unpack(body))


def _known_fields(cls: Callable[..., _T], values: Mapping[str, Any]) -> _T:
    """An instance of `cls`; fields that newer code has added are ignored."""
    names = {field.name for field in fields(cast(Any, cls))}
    return cls(**{name: value for name, value in values.items() if name in names})
