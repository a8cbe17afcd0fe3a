"""Parts of the conditional writes of a job's row: expressions, and the answers to refusals."""

from __future__ import annotations

from collections.abc import Iterable, Set
from typing import Any, cast

from botocore.exceptions import ClientError

from comfyline.adapters.aws.attributes import Item, time_of
from comfyline.adapters.aws.jobs import codec
from comfyline.service.jobs.events import Event
from comfyline.service.jobs.job import Job
from comfyline.service.jobs.lifecycle import from_states

_NOTES_OF_ENDED = {"due_at", "due_shard", "ttl", "tidy_pending", "settle_pending"}


def names_of(attributes: Iterable[str]) -> dict[str, str]:
    """A placeholder for each name, because many of ours are reserved words of DynamoDB."""
    return {f"#{name}": name for name in attributes}


def values_of(attributes: Item) -> dict[str, Any]:
    """A placeholder for each value."""
    return {f":{name}": value for name, value in attributes.items()}


def update_of(sets: Item, removes: Iterable[str]) -> str:
    """The update expression that sets and removes these attributes."""
    setting = "SET " + ", ".join(f"#{name} = :{name}" for name in sets)
    removing = ", ".join(f"#{name}" for name in removes)
    return f"{setting} REMOVE {removing}" if removing else setting


def unchanged(names: Iterable[str], old: Item) -> tuple[str, dict[str, Any]]:
    """The condition that the row still has the old values of these attributes, and the values.

    It does not hold for a row that does not exist, because `names` has an attribute of every row.
    """
    values = {f":{name}_before": old[name] for name in names if name in old}
    clauses = [
        f"#{name} = :{name}_before" if name in old else f"attribute_not_exists(#{name})"
        for name in names
    ]
    return " AND ".join(clauses), values


def allowing(event: type[Event]) -> tuple[str, dict[str, Any]]:
    """The condition that the row's state allows `event`, and its values.

    It does not hold for a row that does not exist.
    """
    values = {f":from_{status}": {"S": status.value} for status in sorted(from_states(event))}
    return f"#status IN ({', '.join(values)})", values


def removable(job: Job) -> tuple[str, dict[str, Any]]:
    """The condition that the row is this version of `job` and settled, and its placeholders.

    Another job of the same id has another `queued_at`. A job that has not ended has no
    `settle_pending`, so it counts as settled.
    """
    is_this_version = "#version = :version AND queued_at = :queued_at"
    is_settled = "attribute_not_exists(settle_pending)"
    values = {":version": {"N": str(job.version)}, ":queued_at": time_of(job.queued_at)}
    return f"{is_this_version} AND {is_settled}", {
        "ExpressionAttributeNames": names_of(["version"]),
        "ExpressionAttributeValues": values,
    }


def row_in_the_way(refusal: ClientError) -> Job | None:
    """The row that made DynamoDB refuse a conditional write; None if there is no row."""
    item = cast(Item, refusal.response).get("Item")
    return codec.job_of(item) if item else None


def is_saved(current: Job, new: Item, changed: Set[str]) -> bool:
    """Whether `current` already has everything that a change sets: it was saved before.

    The version alone does not tell, because another change of the same version may have won. The
    end of the lease is not compared, because a heartbeat may have moved it since; after the write
    that ends the job, neither are the notes of settle_jobs and the sweeper.
    """
    compared = (changed | {"queued_at", "version", "attempt", "status", "lease"}) - {"lease_until"}
    if "status" in changed and current.status.is_terminal:
        compared -= _NOTES_OF_ENDED
    row = codec.item_of(current)
    return all(row.get(name) == new.get(name) for name in compared)
