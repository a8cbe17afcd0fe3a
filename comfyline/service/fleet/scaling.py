"""The scaler's rule: a pure function from queues, fleet, policy and recent needs to a fleet size.

The fleet grows at once, shrinks only after a quiet time, and never loses a busy worker.

- The need is the number of workers that finish the backlog in the target wait, once they have
  started. Any ticket needs at least one worker, so the first job starts the first worker.
- If the oldest job has waited longer than the target wait and a worker's start, jobs take longer
  than the policy says. The rule then no longer relies on busy workers for the waiting tickets, and
  a ticket counts more the longer it waits.
- The fleet stays at the highest need of the quiet time. An idle worker costs as much as one that
  boots, so the quiet time should be about as long as a boot. The fleet then costs at most twice as
  much as it would if the scaler knew in advance which jobs will arrive.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from math import ceil

from comfyline.service.fleet.capacity import FleetSize, Sizes

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WARM_HOURS = re.compile(rf"({'|'.join(_DAYS)})-({'|'.join(_DAYS)}) (\d\d)-(\d\d)")


@dataclass(frozen=True, slots=True)
class WarmHours:
    """Hours of the week in UTC: from one day to another, both included, between two hours."""

    first_day: int  # Monday is 0
    last_day: int
    from_hour: int
    until_hour: int

    @classmethod
    def parse(cls, text: str) -> WarmHours:
        """Read hours such as `mon-fri 07-18`, or `sat-mon 22-06` over the week's and day's end.

        Raises:
            ValueError: the text has another form, or an hour is not within a day.
        """
        match = _WARM_HOURS.fullmatch(text)
        if match is None:
            raise ValueError(f"warm_hours must be like 'mon-fri 07-18', not {text!r}")
        first, last, start, end = match.groups()
        if not (int(start) < 24 and int(end) <= 24 and int(start) != int(end)):
            raise ValueError(
                f"warm_hours must have two different hours from 00 to 24, not {text!r}"
            )
        return cls(_DAYS.index(first), _DAYS.index(last), int(start), int(end))

    def contain(self, at: datetime) -> bool:
        """Whether `at` is in these hours. Hours after midnight belong to the day before."""
        overnight = self.from_hour > self.until_hour
        day = at - timedelta(days=1) if overnight and at.hour < self.until_hour else at
        days_on = (day.weekday() - self.first_day) % 7 <= (self.last_day - self.first_day) % 7
        if overnight:
            return days_on and not self.until_hour <= at.hour < self.from_hour
        return days_on and self.from_hour <= at.hour < self.until_hour


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingPolicy:
    """The settings of the scaler: the section `[scaling]` of the deployment file.

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
    ondemand_workers: int = 1  # the first workers, which are not spot

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
    """The queues and the fleet at one moment. The counts may be a few seconds old."""

    at: datetime
    waiting: int  # tickets that no worker has
    in_flight: int  # jobs that workers have
    running: int  # workers that are ready for jobs
    busy: int = 0  # workers that have a job
    oldest_wait: timedelta = timedelta(0)  # of a job, until a worker took it


@dataclass(frozen=True, slots=True)
class Need:
    """How many workers were needed at one time."""

    at: datetime
    workers: int


@dataclass(frozen=True, slots=True)
class Decision:
    """How many workers there should be, and the needs to remember for the next round.

    `recent` is oldest first. Each need is smaller than the one before it, because a need with a
    greater one after it has no effect any more. `recent` is empty for an idle fleet.
    """

    workers: int
    recent: tuple[Need, ...]


def decide(seen: Seen, policy: ScalingPolicy, recent: Sequence[Need] = ()) -> Decision:
    """Decide how many workers there should be from now on."""
    need = min(needed(seen, policy), policy.max_workers)
    horizon = seen.at - timedelta(seconds=policy.quiet_seconds)
    kept = tuple(n for n in recent if horizon < n.at <= seen.at and n.workers > need)
    recent = (*kept, Need(seen.at, need)) if need else kept
    workers = max([policy.least(seen.at), *(n.workers for n in recent)])
    return Decision(min(workers, policy.max_workers), recent)  # max_workers may have been lowered


def needed(seen: Seen, policy: ScalingPolicy) -> int:
    """How many workers the tickets need, without the policy's bounds."""
    busy = min(seen.busy, seen.in_flight)  # the two counts may be of different moments
    # The tickets that one worker finishes within the target wait.
    per_worker = max(1.0, policy.target_wait_seconds / policy.job_seconds)
    tickets = seen.waiting + seen.in_flight
    expected_wait = timedelta(seconds=policy.target_wait_seconds + policy.boot_seconds)
    lateness = seen.oldest_wait / expected_wait
    if seen.waiting == 0 or lateness <= 1:
        return max(busy, ceil(tickets / per_worker))
    more = min(seen.waiting, ceil(seen.waiting * lateness / per_worker))
    return max(busy + more, ceil(tickets / per_worker))


class Reason(StrEnum):
    """Why the fleet has the size that the scaler asked for."""

    IDLE = "idle"  # there is no work, and the policy keeps no worker
    BACKLOG = "backlog"  # the tickets need so many
    QUIET = "quiet"  # tickets needed so many within the quiet time
    LEAST = "least"  # the policy keeps so many, even without jobs
    MOST = "most"  # tickets need more, but the policy allows no more
    CRASHES = "crashes"  # tickets need more, but workers crash one after the other


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalerView:
    """What a round of the scaler has seen and asked for, and the reason, for operators."""

    since: datetime  # the first round with these values
    waiting: int
    in_flight: int
    ready: int  # workers that take jobs
    asked: Sizes
    running: Sizes  # that the platform runs
    reason: Reason

    def follows(self, before: ScalerView | None) -> ScalerView | None:
        """The view to keep after `before`: the older one if nothing has changed.

        An idle fleet of which nothing is known yet stays so, because its rounds write nothing.
        """
        if before is None:
            is_empty = self.reason is Reason.IDLE and not (self.asked.total or self.running.total)
            return None if is_empty else self
        return before if replace(self, since=before.since) == before else self


def view_of(
    seen: Seen, policy: ScalingPolicy, size: FleetSize, asked: Sizes, *, is_held: bool
) -> ScalerView:
    """What the round has seen and asked for. `is_held`: crashes keep the fleet small."""
    return ScalerView(
        since=seen.at,
        waiting=seen.waiting,
        in_flight=seen.in_flight,
        ready=seen.running,
        asked=asked,
        running=size.running,
        reason=Reason.CRASHES if is_held else _reason(seen, policy, asked.total),
    )


def _reason(seen: Seen, policy: ScalingPolicy, asked: int) -> Reason:
    need = needed(seen, policy)
    if need > policy.max_workers:
        return Reason.MOST
    if asked == 0:
        return Reason.IDLE
    if need == asked:
        return Reason.BACKLOG
    return Reason.LEAST if asked == policy.least(seen.at) else Reason.QUIET
