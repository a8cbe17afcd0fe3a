"""Which workers are on-demand instances and which are spot: a pure function.

- The first workers are on-demand, so that a small fleet never depends on spot. Those above are
  spot, which costs less than half.
- AWS does not fall back by itself: while spot instances cannot be had, an order of them waits.
  So an order that is not filled within `patience` is moved to on-demand, and so is every new one
  for the next hour. Spot instances that run stay.
- After that hour spot is ordered again. What runs on demand in its place stays until it has come.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

REFUSED_FOR = timedelta(hours=1)
# A large fleet always replaces some reclaimed workers. Those that start are then as many as those
# that stop, so the numbers of two rounds do not show them.
TOLERATED = 0.05  # share of the order that may be missing


class Capacity(StrEnum):
    """How AWS sells an instance. The value is also the name of the ECS service of its workers."""

    ONDEMAND = "ondemand"
    SPOT = "spot"


@dataclass(frozen=True, slots=True)
class Sizes:
    """A number of workers of each capacity."""

    ondemand: int = 0
    spot: int = 0

    @property
    def total(self) -> int:
        """All workers."""
        return self.ondemand + self.spot

    def of(self, capacity: Capacity) -> int:
        """The workers of that capacity."""
        return self.spot if capacity is Capacity.SPOT else self.ondemand


@dataclass(frozen=True, slots=True)
class FleetSize:
    """How many workers of each capacity the platform was asked for, and how many it runs."""

    desired: Sizes = Sizes()
    running: Sizes = Sizes()
    revisions: frozenset[str] = frozenset()  # of the workers that the platform starts now


@dataclass(frozen=True, slots=True)
class SpotHistory:
    """What the last rounds have seen of the order of spot workers."""

    owed: int = 0  # workers of the watched order that AWS has not started yet
    since: datetime | None = None  # since when it is watched; None: nothing is missing
    running: int = 0  # spot workers in the last round
    refused_until: datetime | None = None  # until then, new workers are on-demand

    def is_refused(self, now: datetime) -> bool:
        """Whether spot instances could not be had a short time ago."""
        return self.refused_until is not None and now < self.refused_until


def watch_spot(
    history: SpotHistory, size: FleetSize, patience: timedelta, now: datetime
) -> SpotHistory:
    """The history after one more look at the fleet.

    An order counts as refused if AWS has not started as many workers as it lacked within
    `patience`. A fleet that grows, or that replaces reclaimed workers, always lacks some, but its
    orders are filled.
    """
    running = size.running.spot
    if history.is_refused(now):
        return replace(history, running=running)
    missing = max(0, size.desired.spot - running)
    if missing <= size.desired.spot * TOLERATED:
        return SpotHistory(running=running)
    arrived = max(0, running - history.running)
    owed, since = min(history.owed - arrived, missing), history.since
    if owed <= 0 or since is None:  # the order that was watched is filled: watch what is missing
        owed, since = missing, now
    if now - since >= patience:
        return SpotHistory(running=running, refused_until=now + REFUSED_FOR)
    return SpotHistory(owed=owed, since=since, running=running)


def split(workers: int, first: int, history: SpotHistory, size: FleetSize, now: datetime) -> Sizes:
    """How to order that many workers, of which the `first` ones are on-demand."""
    least, running_spot = min(workers, first), size.running.spot
    if history.is_refused(now):
        spot = min(workers - least, running_spot)
        return Sizes(workers - spot, spot)
    in_place_of_spot = min(size.desired.ondemand, workers - running_spot)
    return Sizes(max(least, in_place_of_spot), workers - least)
