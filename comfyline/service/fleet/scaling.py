"""How many workers there should be: a pure function of what is seen, the limits and a short memory.

The rule: up at once, down only after a quiet time, never below what is at work.

- Need is what drains the backlog in the time that a caller may wait, once the workers are up. One
  worker is the least for any ticket, so the fleet leaves zero with the first job.
- When the oldest job has waited longer than that allows, jobs are evidently longer than supposed:
  busy workers are no longer counted on, and every waiting ticket weighs more the longer it waits.
- What was needed within the quiet time is kept. A worker that waits costs as much as one that
  boots, so the quiet time is about a boot's: whatever comes next, that costs at most twice what
  knowing the future would.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WARM_HOURS = re.compile(rf"({'|'.join(_DAYS)})-({'|'.join(_DAYS)}) (\d\d)-(\d\d)")


@dataclass(frozen=True, slots=True)
class WarmHours:
    """Hours of the week, UTC: from a day to a day, both included, from an hour to an hour."""

    first_day: int  # Monday is 0
    last_day: int
    from_hour: int
    until_hour: int

    @classmethod
    def parse(cls, text: str) -> WarmHours:
        """Read `mon-fri 07-18`; days and hours may run past the end of the week and the day.

        Raises:
            ValueError: it is not of that form.
        """
        match = _WARM_HOURS.fullmatch(text)
        if match is None:
            raise ValueError(f"warm_hours must be like 'mon-fri 07-18', not {text!r}")
        first, last, start, end = match.groups()
        if not (int(start) < 24 and int(end) <= 24 and int(start) != int(end)):
            raise ValueError(f"the hours of warm_hours must be from 00 to 24, not {text!r}")
        return cls(_DAYS.index(first), _DAYS.index(last), int(start), int(end))

    def contain(self, at: datetime) -> bool:
        """Whether `at` is one of them; what begins on a day counts to that day past midnight."""
        overnight = self.from_hour > self.until_hour
        day = at - timedelta(days=1) if overnight and at.hour < self.until_hour else at
        days_on = (day.weekday() - self.first_day) % 7 <= (self.last_day - self.first_day) % 7
        if overnight:
            return days_on and not self.until_hour <= at.hour < self.from_hour
        return days_on and self.from_hour <= at.hour < self.until_hour


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The section `[scaling]` of a deployment file: what a deployment allows and expects.

    Raises:
        ValueError: the values contradict each other, or the warm hours have another form.
    """

    max_workers: int
    min_workers: int = 0
    warm_workers: int = 0  # in the warm hours, workers that run even without jobs
    warm_hours: str = ""  # as WarmHours.parse reads them; empty: none
    job_seconds: float  # GPU time of a usual job
    target_wait_seconds: float  # time to finish a backlog, once its workers have started
    boot_seconds: float  # time from the order of a worker to its first job
    quiet_seconds: float  # time that a worker without jobs is kept

    def __post_init__(self) -> None:
        if not 0 <= max(self.min_workers, self.warm_workers) <= self.max_workers:
            raise ValueError(
                f"min_workers ({self.min_workers}) and warm_workers ({self.warm_workers}) "
                f"must be at most max_workers ({self.max_workers})"
            )
        if self.job_seconds <= 0 or self.target_wait_seconds <= 0:
            raise ValueError("job_seconds and target_wait_seconds must be greater than 0")
        if bool(self.warm_workers) != bool(self.warm_hours):
            raise ValueError("warm_workers and warm_hours must be given together")
        if self.warm_hours:
            WarmHours.parse(self.warm_hours)

    def least(self, at: datetime) -> int:
        """The number of workers that run even when no job waits."""
        warm = bool(self.warm_hours) and WarmHours.parse(self.warm_hours).contain(at)
        return max(self.min_workers, self.warm_workers if warm else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The queues and the fleet at one moment. Counts may lag behind by moments."""

    at: datetime
    waiting: int  # tickets that no worker has
    in_flight: int  # tickets that workers have
    running: int  # workers that are up
    oldest_wait: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class Need:
    """How many workers were needed at a time."""

    at: datetime
    workers: int


@dataclass(frozen=True, slots=True)
class Decision:
    """How many workers there should be, and what to remember for the next time.

    `recent` is oldest first, and falls: what is followed by a greater need is of no use any more.
    An idle fleet has nothing to remember.
    """

    workers: int
    recent: tuple[Need, ...]


def decide(seen: Seen, limits: Limits, recent: Sequence[Need] = ()) -> Decision:
    """The number of workers to run from now on."""
    need = min(needed(seen, limits), limits.max_workers)
    horizon = seen.at - timedelta(seconds=limits.quiet_seconds)
    kept = tuple(n for n in recent if horizon < n.at <= seen.at and n.workers > need)
    recent = (*kept, Need(seen.at, need)) if need else kept
    workers = max([limits.least(seen.at), *(n.workers for n in recent)])
    return Decision(min(workers, limits.max_workers), recent)  # the limit may be lower by now


def needed(seen: Seen, limits: Limits) -> int:
    """How many workers the work that is there calls for, whatever the limits say."""
    # A worker holds up to three tickets, so this counts no worker that is busy too few.
    busy = min(seen.in_flight, seen.running)
    # How many tickets one worker may have before it.
    each = max(1.0, limits.target_wait_seconds / limits.job_seconds)
    tickets = seen.waiting + seen.in_flight
    expected_wait = timedelta(seconds=limits.target_wait_seconds + limits.boot_seconds)
    lateness = seen.oldest_wait / expected_wait
    if seen.waiting == 0 or lateness <= 1:
        return max(busy, ceil(tickets / each))
    more = min(seen.waiting, ceil(seen.waiting * lateness / each))
    return max(busy + more, ceil(tickets / each))
