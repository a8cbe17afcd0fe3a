"""What an owner may have at once. Slots have names, so that taking one twice is taking it once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from comfyline.contract.ids import JobId, OwnerId


OWNER_SHARDS = 4  # each is a partition of its own; the sweeper looks at all of them every minute


@dataclass(frozen=True, slots=True)
class Taken:
    """A slot that was taken: whether it was free before, and the time that it now bears."""

    is_new: bool
    at: datetime


@dataclass(frozen=True, slots=True)
class Full:
    """No slot was taken: the slots that are, each with its time, and which bound was met."""

    slots: Mapping[JobId, datetime]
    by_rate: bool


@dataclass(frozen=True, slots=True)
class Limits:
    """What a key allows its owner; None: no bound."""

    max_active_jobs: int | None = None
    jobs_per_minute: int | None = None


def minute_of(now: datetime) -> int:
    """The minute that a post is counted in."""
    return int(now.timestamp()) // 60


class OwnerStore(Protocol):
    """One row of named slots for each owner that has a limit."""

    def take_slot(
        self, owner: OwnerId, job_id: JobId, limits: Limits, now: datetime
    ) -> Taken | Full:
        """Take the slot of that name and count the post, by one conditional write.

        A slot that is taken already is taken again and bears the new time, however full it is.
        Minutes are of the clock: a burst may meet two of them.
        """

    def give_back(self, owner: OwnerId, job_id: JobId, taken: Taken) -> None:
        """Free a slot that turned out not to be needed, if it still bears that time."""

    def free_slot(self, owner: OwnerId, job_id: JobId, ended_at: datetime) -> None:
        """The job has ended: free its slot, unless a later job of the same id has taken it."""

    def slots(self, shard: int) -> list[tuple[OwnerId, Mapping[JobId, datetime]]]:
        """The taken slots of every owner of a shard, 0 to OWNER_SHARDS - 1."""
