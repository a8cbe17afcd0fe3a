"""Inconsistencies in slots, rates and budgets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from comfyline.adapters.aws.access.slots import slots_shard
from comfyline.contract.ids import random_job_id
from comfyline.operate.audit.source import Table
from comfyline.service.access.budgets import REQUESTS, window_of
from comfyline.service.access.slots import minute_of
from comfyline.service.jobs.job import Job
from tests.integration.audit.plants.plant import DAY, HOUR, found_as, n
from tests.support.audited import (
    BEAR,
    FOX,
    FOX_KEY,
    Deployed,
)


def _slot_item(d: Deployed, job: Job) -> dict[str, Any]:
    pk = slots_shard(job.owner)["S"]
    name = next(n for n in d.names(Table.OWNERS, pk) if n.endswith(job.id))
    return d.item(Table.OWNERS, pk, name)


def _part_item(d: Deployed) -> dict[str, Any]:
    pk = slots_shard(FOX)["S"]
    name = next(n for n in d.names(Table.OWNERS, pk) if "#part#" in n)
    return d.item(Table.OWNERS, pk, name)


def _without_slot(d: Deployed, job: Job) -> dict[str, Any]:
    item = _slot_item(d, job)
    d.delete(Table.OWNERS, item["pk"]["S"], item["sk"]["S"])
    return item


@found_as("slot", "has no slot")
def live_job_without_slot(d: Deployed) -> None:
    """A live job has has_slot and no slot is held, so its owner may exceed the cap."""
    _without_slot(d, d.jobs.queued)


@found_as("slot", "is taken for a job of")
def slot_of_another_owner(d: Deployed) -> None:
    """Bear has a slot for a live job of fox's."""
    item = _slot_item(d, d.jobs.queued)
    name = item["sk"]["S"].replace("fox#", "bear#")
    d.put(Table.OWNERS, item | {"pk": slots_shard(BEAR), "sk": {"S": name}})


@found_as("slot", "in the wrong shard")
def slot_in_the_wrong_shard(d: Deployed) -> None:
    """A slot is in a shard in which nothing looks for it."""
    item = _without_slot(d, d.jobs.queued)
    right = int(item["pk"]["S"].removeprefix("slots#"))
    d.put(Table.OWNERS, item | {"pk": {"S": f"slots#{(right + 1) % 8}"}})


@found_as("slot", "is taken for a succeeded job")
def slot_of_an_ended_job(d: Deployed) -> None:
    """A slot is taken for a job that has ended."""
    item = _slot_item(d, d.jobs.queued)
    name = item["sk"]["S"].replace(d.jobs.queued.id, d.jobs.succeeded.id)
    d.put(Table.OWNERS, item | {"sk": {"S": name}})


@found_as("slot", "is taken for a missing job")
def slot_of_a_missing_job(d: Deployed) -> None:
    """A slot is taken for a job that is not there."""
    item = _slot_item(d, d.jobs.queued)
    name = item["sk"]["S"].replace(d.jobs.queued.id, random_job_id(d.now))
    d.put(Table.OWNERS, item | {"sk": {"S": name}})


@found_as("slot", "whose end does not free it")
def slot_of_a_job_without_has_slot(d: Deployed) -> None:
    """A slot is taken for a job, but the job's row does not say so."""
    d.save(replace(d.jobs.queued, has_slot=False))


@found_as("slot", "has not put the job")
def slot_of_another_post(d: Deployed) -> None:
    """A slot is kept for hours by a post of a job that another post has put."""
    item = _slot_item(d, d.jobs.queued)
    owner, _, _, job_id = item["sk"]["S"].split("#")
    early = (d.now - 5 * HOUR).timestamp()
    d.put(Table.OWNERS, item | {"sk": {"S": f"{owner}#slot#{int(early * 1e6):014x}#{job_id}"}})


@found_as("slot", "but holds")
def counter_too_high(d: Deployed) -> None:
    """A counter counts seven slots that are not there."""
    item = _part_item(d)
    d.put(Table.OWNERS, item | {"n": n(int(item["n"]["N"]) + 7)})


@found_as("slot", "but holds")
def counter_missing(d: Deployed) -> None:
    """A counter is deleted while its slots are held."""
    pk = slots_shard(FOX)["S"]
    part = _slot_item(d, d.jobs.queued)["part"]["N"]
    d.delete(Table.OWNERS, pk, f"fox#part#{part}")


@found_as("slot", "counts -3")
def counter_negative(d: Deployed) -> None:
    """A counter is negative."""
    d.put(Table.OWNERS, _part_item(d) | {"n": n(-3)})


@found_as("slot", "but its keys allow 2")
def more_slots_than_the_cap(d: Deployed) -> None:
    """An owner holds more slots than any of its keys allows."""
    d.set(Table.KEYS, FOX_KEY, "", max_active_jobs=n(2))


@found_as("owner", "cannot be read")
def slot_unreadable(d: Deployed) -> None:
    """The name of a slot has no time."""
    d.put(Table.OWNERS, {"pk": slots_shard(FOX), "sk": {"S": "fox#slot#zz"}, "part": n(0)})


@found_as("rate", "posts in minute")
def rate_of_the_future(d: Deployed) -> None:
    """The rate counts posts of a minute next year, so this year's posts are refused."""
    minute = minute_of(d.now + 365 * DAY)
    d.set(Table.OWNERS, slots_shard(FOX)["S"], "fox#rate", minute=n(minute))


@found_as("budget", "in window")
def budget_of_the_future(d: Deployed) -> None:
    """A budget counts in a window of next year, so this year's requests are refused."""
    later = window_of(REQUESTS, d.now + 365 * DAY)
    d.set(Table.OWNERS, "budget#fox", REQUESTS.name, window=n(later))


@found_as("budget", "counts -1")
def budget_negative(d: Deployed) -> None:
    """A budget counts minus one request."""
    d.set(Table.OWNERS, "budget#fox", REQUESTS.name, used=n(-1))


@found_as("budget", "has no TTL")
def budget_without_ttl(d: Deployed) -> None:
    """A budget has no TTL."""
    d.set(Table.OWNERS, "budget#fox", REQUESTS.name, ttl=None)


@found_as("owner", "cannot be read")
def budget_of_unknown_name(d: Deployed) -> None:
    """There is a budget that nothing counts."""
    item = d.item(Table.OWNERS, "budget#fox", REQUESTS.name)
    d.put(Table.OWNERS, item | {"sk": {"S": "coffee"}})
