"""The items of an attempt's result. The module comment of `table.py` lists their names.

The first item holds the result with its first ARTIFACTS_PER_PART artifacts. Each further item, a
part, holds as many of the others. Its name follows from the numbers of its artifacts, so that any
artifact is found by one read and a growing list is stored without writing its full parts again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Any

from comfyline.adapters.aws.attributes import Item, readable_items
from comfyline.adapters.aws.jobs.siblings import (
    MAX_BODY_BYTES,
    ROW,
    known_fields,
    pack,
    query,
    sibling_item,
    unpack,
)
from comfyline.service.jobs.job import Job
from comfyline.service.jobs.result import Artifact, JobResult, ResultWarning

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# Never change it: stored parts are found by it. Names, keys and node ids are bounded, so that this
# many artifacts and the rest of a result fit into one item.
ARTIFACTS_PER_PART = 100

_THUMBNAILS_NAME = re.compile(r"job#thumbs#([^#]+)")
_NAME = re.compile(r"(?:job#)?artifacts#([^#]+)(?:#\d+)?")


# --- names ----------------------------------------------------------------------------------------


def result_sk(job: Job) -> str:
    """The result of the job's attempt, with its first artifacts."""
    return f"{ROW}#artifacts#{job.incarnation}-{job.attempt}"


def part_sk(job: Job, part: int) -> str:
    """The artifacts from number `part * ARTIFACTS_PER_PART` on.

    Part 0 is in the item of the result. A query for a job's row does not find the others.
    """
    return f"artifacts#{job.incarnation}-{job.attempt}#{part:05}" if part else result_sk(job)


def thumbnails_sk(job: Job) -> str:
    """Which artifacts of the job's attempt have thumbnails. A read of the job finds it."""
    return f"{ROW}#thumbs#{job.incarnation}-{job.attempt}"


def thumbnails_attempt_of(sk: str) -> str | None:
    """The attempt of an item of thumbnails, as `attempt_of` gives it; None for any other item."""
    match = _THUMBNAILS_NAME.fullmatch(sk)
    return match[1] if match else None


def attempt_of(sk: str) -> str | None:
    """The attempt of an item that lists files, from its sort key; None for any other item.

    It is the end of the attempt's `attempt_path`.
    """
    match = _NAME.fullmatch(sk)
    return match[1] if match else None


# --- items ----------------------------------------------------------------------------------------


def put(client: DynamoDBClient, table: str, items: Iterable[Item]) -> None:
    """Store the items one by one.

    A worker's role may put items, but not use batches, because those can also delete.
    """
    for item in items:
        client.put_item(TableName=table, Item=item)


def result_items(job: Job, result: JobResult) -> list[Item]:
    """The whole result of the job's attempt. The first item comes last.

    Raises:
        ValueError: a part does not fit into an item, or is not JSON.
    """
    first, *others = part_items(job, result.artifacts) or [_part_item(job, 0, ())]
    total = {"artifacts_total": len(result.artifacts)}
    about = pack(asdict(replace(result, artifacts=())) | total)
    return [*others, _sized(first | {"about": {"B": about}})]


def thumbnails_item(job: Job, numbers: Sequence[int]) -> dict[str, Any]:
    """The numbers of the artifacts that have thumbnails."""
    return sibling_item(job, thumbnails_sk(job), pack(sorted(numbers)))


def part_items(job: Job, artifacts: Sequence[Artifact], *, known: int = 0) -> list[dict[str, Any]]:
    """The parts of the list that have artifacts from number `known` on.

    Raises:
        ValueError: a part does not fit into an item.
    """
    changed = range(known // ARTIFACTS_PER_PART, ceil(len(artifacts) / ARTIFACTS_PER_PART))
    return [_part_item(job, part, artifacts) for part in changed]


def _part_item(job: Job, part: int, artifacts: Sequence[Artifact]) -> dict[str, Any]:
    first = part * ARTIFACTS_PER_PART
    listed = [asdict(artifact) for artifact in artifacts[first : first + ARTIFACTS_PER_PART]]
    return _sized(sibling_item(job, part_sk(job, part), pack(listed)))


def _sized(item: dict[str, Any]) -> dict[str, Any]:
    size = sum(len(value["B"]) for value in item.values() if "B" in value)
    if size > MAX_BODY_BYTES:
        raise ValueError(f"{item['sk']['S']} has {size} bytes; an item has {MAX_BODY_BYTES}.")
    return item


# --- reading --------------------------------------------------------------------------------------


def result_of(item: Item | None, job: Job) -> tuple[JobResult, int]:
    """The result in its item, with its first artifacts, and how many artifacts it has in all.

    The item of an attempt that has not ended by itself holds artifacts alone, and the row counts
    them. Older code has written such items, too, with all artifacts of the attempt.
    """
    if item is None:
        return JobResult(), 0
    artifacts = artifacts_of(item)
    about = unpack(item["about"]["B"]) if "about" in item else {}
    parts = {
        "artifacts": artifacts,
        "values_cut": tuple(about.get("values_cut", ())),
        "warnings": tuple(known_fields(ResultWarning, w) for w in about.get("warnings", ())),
    }
    counted = max(job.stored, len(artifacts))
    return known_fields(JobResult, about | parts), about.get("artifacts_total", counted)


def artifacts_of(item: Item) -> tuple[Artifact, ...]:
    """The artifacts that one item lists."""
    return tuple(known_fields(Artifact, values) for values in unpack(item["body"]["B"]))


def thumbnails_of(item: Item | None) -> tuple[int, ...]:
    """The numbers in an item of thumbnails; none if there is no item that can be read."""
    found = readable_items(lambda item: unpack(item["body"]["B"]), [item] if item else [])
    return tuple(int(number) for number in found[0]) if found else ()


def listed(client: DynamoDBClient, table: str, job: Job, numbers: range) -> tuple[Artifact, ...]:
    """The artifacts of the job's attempt with these numbers, as far as they exist."""
    if not numbers:
        return ()
    first, last = numbers[0] // ARTIFACTS_PER_PART, numbers[-1] // ARTIFACTS_PER_PART
    read = partial(query, client, table, job.id)
    parts: dict[str, Item] = {}
    if last > 0:
        span = {"low": part_sk(job, max(first, 1)), "high": part_sk(job, last)}
        parts = read("sk BETWEEN :low AND :high", **span)
    if first == 0 or not parts:  # older code has put all artifacts into the first item
        parts |= read("sk = :first", first=result_sk(job))
    return _artifacts_in(parts, numbers)


def _artifacts_in(parts: Mapping[str, Item], numbers: range) -> tuple[Artifact, ...]:
    found = {
        number: artifact
        for sk, item in parts.items()
        for number, artifact in enumerate(artifacts_of(item), _first_number(sk))
    }
    return tuple(found[number] for number in numbers if number in found)


def _first_number(sk: str) -> int:
    return 0 if sk.startswith(ROW) else int(sk.rpartition("#")[2]) * ARTIFACTS_PER_PART
