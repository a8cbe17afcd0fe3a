"""Inconsistencies in the ledger."""

from __future__ import annotations

from comfyline.adapters.aws.attributes import ttl_of
from comfyline.operate.audit.source import Table
from tests.integration.audit.plants.plant import DAY, found_as, n
from tests.support.audited import (
    Deployed,
)


def _totals(d: Deployed, **more: float) -> None:
    name = d.names(Table.OWNERS, "totals")[0]
    item = d.item(Table.OWNERS, "totals", name)
    sums = {key: n(float(item.get(key, n(0))["N"]) + extra) for key, extra in more.items()}
    d.put(Table.OWNERS, item | sums)


@found_as("ledger", "the totals say")
def totals_off_by_a_thousand(d: Deployed) -> None:
    """The totals have a thousand expired jobs more than were counted."""
    _totals(d, jobs_expired=1000)


@found_as("ledger", "have succeeded")
def totals_of_successes_too_high(d: Deployed) -> None:
    """The totals have more jobs that succeeded than jobs that started."""
    _totals(d, jobs_succeeded=1000)


@found_as("ledger", "are noted as counted")
def totals_too_low(d: Deployed) -> None:
    """The totals have fewer jobs than notes."""
    for name in d.names(Table.OWNERS, "totals"):
        item = d.item(Table.OWNERS, "totals", name)
        if "jobs_canceled" in item:
            d.put(Table.OWNERS, {k: v for k, v in item.items() if k != "jobs_canceled"})


@found_as("ledger", "have a wait")
def totals_of_durations_off(d: Deployed) -> None:
    """The totals have more durations than waits."""
    _totals(d, duration_10=1)


@found_as("ledger", "but the totals say")
def usage_off_by_a_million(d: Deployed) -> None:
    """A row of older code adds a million GPU seconds to the usage of an owner."""
    row = {"pk": {"S": "usage#fox"}, "sk": {"S": "0"}, "jobs": n(1)}
    d.put(Table.OWNERS, row | {"gpu_seconds": n(1e6)})


@found_as("ledger", "but its usage is")
def usage_deleted(d: Deployed) -> None:
    """The usage of an owner is deleted."""
    for name in d.names(Table.OWNERS, "totals"):
        if name.startswith("bear#"):
            d.delete(Table.OWNERS, "totals", name)


@found_as("ledger", "negative sum")
def usage_negative(d: Deployed) -> None:
    """The usage of an owner is negative."""
    (name,) = (name for name in d.names(Table.OWNERS, "totals") if name.startswith("fox#"))
    d.set(Table.OWNERS, "totals", name, gpu_jobs=n(-1))


def _months(d: Deployed, owner: str) -> tuple[str, str, str]:
    """The name of a row of the owner, and those of its newest month's sums."""
    (name,) = (name for name in d.names(Table.OWNERS, "totals") if name.startswith(f"{owner}#"))
    item = d.item(Table.OWNERS, "totals", name)
    month = max(key[1:] for key in item if key[0] == "s" and key[1:].isdigit())
    return name, f"s{month}", f"j{month}"


@found_as("ledger", "in its months, in all")
def month_ahead_of_the_usage(d: Deployed) -> None:
    """A month of an owner has more GPU seconds than the owner has in all."""
    name, seconds, _ = _months(d, "bear")
    d.set(Table.OWNERS, "totals", name, **{seconds: n(1e6)})


@found_as("ledger", "in the future")
def month_in_the_future(d: Deployed) -> None:
    """An owner has used a GPU in a month that has not begun."""
    name, _, _ = _months(d, "bear")
    d.set(Table.OWNERS, "totals", name, s9912=n(0.001), j9912=n(0))


@found_as("ledger", "but its usage is")
def month_deleted(d: Deployed) -> None:
    """The usage of a month is deleted, though its jobs were counted."""
    name, seconds, jobs = _months(d, "bear")
    d.set(Table.OWNERS, "totals", name, **{seconds: None, jobs: None})


def _group(d: Deployed) -> tuple[str, str]:
    """The key of the group of the failed job."""
    end = d.jobs.failed.finished_at
    assert end is not None
    day = f"errors#{end.date()}"
    return day, next(name for name in d.names(Table.OWNERS, day) if not name.startswith("kinds"))


@found_as("failures", "are noted, but the group counts")
def failures_deleted(d: Deployed) -> None:
    """A group of failures is deleted, though its jobs were counted."""
    d.delete(Table.OWNERS, *_group(d))


@found_as("failures", "has no TTL")
def failures_without_ttl(d: Deployed) -> None:
    """A group of failures is kept for ever."""
    d.set(Table.OWNERS, *_group(d), ttl=None)


@found_as("failures", "of another kind")
def failures_of_another_kind(d: Deployed) -> None:
    """A group has the name of another kind, so new failures would not be added to it."""
    d.set(Table.OWNERS, *_group(d), node_type={"S": "Other"})


@found_as("failures", "kinds")
def failures_of_too_many_kinds(d: Deployed) -> None:
    """A bucket of owners has brought more kinds than it may."""
    day, _ = _group(d)
    (name,) = (name for name in d.names(Table.OWNERS, day) if name.startswith("kinds"))
    d.set(Table.OWNERS, day, name, kinds={"SS": [f"{n:016x}" for n in range(100)]})


@found_as("failures", "in the future")
def failures_of_the_future(d: Deployed) -> None:
    """A group is of a day that has not begun."""
    item = d.item(Table.OWNERS, *_group(d))
    d.put(Table.OWNERS, item | {"pk": {"S": "errors#2999-01-01"}})


@found_as("ledger", "no note that it was counted")
def settled_but_not_counted(d: Deployed) -> None:
    """A job is settled and was not counted."""
    job = d.jobs.canceled
    d.delete(Table.OWNERS, f"counted#{job.id}", f"counted#{job.incarnation}")


@found_as("ledger", "was counted, but has not ended")
def counted_while_live(d: Deployed) -> None:
    """A job was counted before its end, so its end will not be."""
    job = d.jobs.queued
    note = {"pk": {"S": f"counted#{job.id}"}, "sk": {"S": f"counted#{job.incarnation}"}}
    d.put(Table.OWNERS, note | {"ttl": ttl_of(d.now + 30 * DAY)})


@found_as("ledger", "another TTL")
def note_removed_too_early(d: Deployed) -> None:
    """The note of a counted job is removed in a day, so the job could be counted twice."""
    job = d.jobs.canceled
    name = f"counted#{job.incarnation}"
    d.set(Table.OWNERS, f"counted#{job.id}", name, ttl=ttl_of(d.now + DAY))


@found_as("ledger", "has no TTL")
def note_without_ttl(d: Deployed) -> None:
    """The note of a counted job has no TTL."""
    job = d.jobs.canceled
    d.set(Table.OWNERS, f"counted#{job.id}", f"counted#{job.incarnation}", ttl=None)


@found_as("owner", "cannot be read")
def sum_unreadable(d: Deployed) -> None:
    """A row of the totals has a name that is no number."""
    d.put(Table.OWNERS, {"pk": {"S": "totals"}, "sk": {"S": "all"}, "gpu_seconds": n(0)})
