"""Slots: how many jobs an owner may have that have not ended, and how many posts a minute.

A slot is named after one incarnation of a job, so every post takes a new slot, and freeing
it again changes nothing. The slots of an owner are counted in parts, each with its share of the
cap, so that the posts of one owner do not wait for each other.

An allowance is how many jobs one token may make in all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from comfyline.contract.ids import JobId, OwnerId


OWNER_SHARDS = 8  # each is one partition; the sweeper reads all of them every minute
# A part takes some 30 posts a second, because each is a transaction of 25 ms on its counter.
JOBS_PER_PART, MAX_PARTS = 25, 100
# Bounds of the limits of a key. Beyond them one owner would exceed what a partition of DynamoDB
# takes: 1,000 write units a second.
MAX_ACTIVE_JOBS, MAX_JOBS_PER_MINUTE = 50_000, 30_000


class Slot(NamedTuple):
    """The name of a slot: the job that it was taken for, and the time of its post."""

    job_id: JobId
    queued_at: datetime


class Refusal(Enum):
    """The limit that an owner has reached."""

    CAP = auto()
    RATE = auto()


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits that an API key sets for its owner; None: the service's own limit, if any.

    The service itself limits neither active jobs nor posts. See `budgets.py` for the others.
    """

    max_active_jobs: int | None = None
    jobs_per_minute: int | None = None
    max_pixels: int | None = None  # of one picture
    max_batch_size: int | None = None  # pictures of one batch
    requests_per_minute: int | None = None
    uploads_per_minute: int | None = None
    upload_gb_per_day: int | None = None
    sockets_per_minute: int | None = None  # and socket passes
    max_sockets: int | None = None  # open at once
    max_waits: int | None = None  # posts that wait at once

    def within(self, other: Limits) -> Limits:
        """These limits, each replaced by that of `other` where that one is lower."""
        bounds = {}
        for field in fields(self):
            pair = (getattr(self, field.name), getattr(other, field.name))
            bounds[field.name] = min((bound for bound in pair if bound is not None), default=None)
        return Limits(**bounds)

    @property
    def needs_slots(self) -> bool:
        """Whether the jobs and posts of the owner are counted."""
        return self.max_active_jobs is not None or self.jobs_per_minute is not None


def minute_of(now: datetime) -> int:
    """The number of the minute in which a post at this time is counted."""
    return int(now.timestamp()) // 60


def shares(cap: int, taken: Mapping[int, int]) -> dict[int, int]:
    """How many slots each part may hold under this cap. `taken`: how many each part holds.

    The share of a part and the slots of all other parts never exceed the cap together. So the cap
    holds, even if many posts compute shares at once from different readings.
    """
    parts = min(MAX_PARTS, -(-cap // JOBS_PER_PART))
    even = {part: cap // parts + (part < cap % parts) for part in range(parts)}
    over = {part for part, slots in taken.items() if slots > even.get(part, 0)}
    return even if not over else _shares_beside(over, cap, parts, taken)


def _shares_beside(
    over: Iterable[int], cap: int, parts: int, taken: Mapping[int, int]
) -> dict[int, int]:
    """The shares if some parts hold more than theirs, because an earlier or another cap is higher.

    Those parts keep their slots, and the others share the rest. The shares of the others only
    rise while those parts become empty, so an older reading never gives a higher share.
    """
    full = set(over)
    while rest := [part for part in range(parts) if part not in full]:
        left = cap - sum(taken[part] for part in full)
        share = max(0, left // len(rest))
        if not (fuller := {part for part in rest if taken.get(part, 0) > share}):
            return dict.fromkeys(rest, share)
        full |= fuller
    return {}


class Occupancy(NamedTuple):
    """What an owner uses of its limits."""

    slots: int  # those of a cap: jobs of keys without a cap take none
    posts: int  # in this minute; those of keys without a rate are not counted


class OwnerStore(Protocol):
    """Stores the slots of each owner that has a cap, and counts the posts of one that has a rate.

    Every method costs the same however many slots the owner has.
    """

    def take_slot(
        self, owner: OwnerId, slot: Slot, limits: Limits, now: datetime
    ) -> Refusal | None:
        """Count the post and take the slot; returns the limit that forbids it, if any.

        There are never more slots than the cap. Without a cap no slot is taken. The minutes of the
        rate are those of the clock, so a short burst may use the rate of two of them. A post that
        is refused for the cap is not counted, unless it lost the last slot to another at that
        moment.

        Raises:
            Unavailable: too many posts of this owner at once; nothing was taken.
        """

    def move_slot(self, owner: OwnerId, slot: Slot, to: Slot) -> bool:
        """Give the slot another name. If that one is taken already, free `slot`.

        Returns whether `to` is taken now. False if `slot` was free.
        """

    def free_slot(self, owner: OwnerId, slot: Slot) -> None:
        """Free a slot; no error if it is free."""

    def oldest_slots(self, owner: OwnerId, limit: int) -> list[Slot]:
        """Up to `limit` taken slots of the owner, oldest first."""

    def occupancy(self, owner: OwnerId, now: datetime) -> Occupancy:
        """How many slots of the owner are taken, and its posts in the minute of `now`."""

    def slots(self, shard: int) -> Iterable[tuple[OwnerId, Slot]]:
        """The taken slots of all owners in one shard. Shards are 0 to OWNER_SHARDS - 1."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """How many jobs a token may make in all."""

    token: str  # its hash
    max_jobs: int
    expires_at: datetime


# The row of an allowance is kept for so long after the token: a function may still be at work then,
# with a slower clock.
ALLOWANCE_MARGIN = timedelta(days=1)


class AllowanceStore(Protocol):
    """Counts the jobs that tokens make, by their ids: a repeated post counts once."""

    def use(self, allowance: Allowance, job_id: JobId) -> bool:
        """Count a job that is about to be put; False if the token has made its number of jobs.

        Never more jobs are counted than the token may make, however many posts come at once. A job
        stays counted if its post is refused afterwards. It would be wrong to take the count back,
        because another post of the same job may have put it meanwhile.
        """
