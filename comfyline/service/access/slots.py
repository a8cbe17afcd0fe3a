"""Slots: how many jobs an owner may have that have not ended, and how many posts a minute.

Each slot is named after its job, so that a repeated call for the same job takes one slot only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from comfyline.contract.ids import JobId, OwnerId


OWNER_SHARDS = 4  # each is one partition; the sweeper reads all of them every minute


@dataclass(frozen=True, slots=True)
class Taken:
    """The slot was taken. `is_new`: it was free before. `at` is the time stored in it."""

    is_new: bool
    at: datetime


@dataclass(frozen=True, slots=True)
class Full:
    """No slot was taken, because the owner is at a limit.

    `slots` holds the taken slots, each with its time. `by_rate` is true if the limit is
    `jobs_per_minute`.
    """

    slots: Mapping[JobId, datetime]
    by_rate: bool


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits that an API key sets for its owner; None: the key sets none.

    The last two take the place of the service's own limits on pictures.
    """

    max_active_jobs: int | None = None
    jobs_per_minute: int | None = None
    max_pixels: int | None = None  # of one picture
    max_batch_size: int | None = None  # pictures of one batch

    @property
    def needs_slots(self) -> bool:
        """Whether the jobs and posts of the owner are counted."""
        return self.max_active_jobs is not None or self.jobs_per_minute is not None


def minute_of(now: datetime) -> int:
    """The number of the minute in which a post at this time is counted."""
    return int(now.timestamp()) // 60


class OwnerStore(Protocol):
    """Stores the slots of each owner that has a limit."""

    def take_slot(
        self, owner: OwnerId, job_id: JobId, limits: Limits, now: datetime
    ) -> Taken | Full:
        """Take the job's slot and count the post, in one conditional write.

        If the job has a slot already, the slot gets the new time, even if no other slot is free.
        The minutes are those of the clock, so a short burst may use the rate of two of them.
        """

    def give_back(self, owner: OwnerId, job_id: JobId, taken: Taken) -> None:
        """Free a slot that is not needed after all, unless it was taken again since then."""

    def free_slot(self, owner: OwnerId, job_id: JobId, ended_at: datetime) -> None:
        """Free the slot of an ended job, unless a later job of the same id has taken it."""

    def slots(self, shard: int) -> list[tuple[OwnerId, Mapping[JobId, datetime]]]:
        """The taken slots of every owner in one shard. Shards are 0 to OWNER_SHARDS - 1."""
