"""Named sums over ended jobs, and the totals that are made from them.

Additions commute, so several processes may add in any order. A job adds once, when it has ended,
and its addition is derived from its row alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from comfyline.service.jobs.job import TERMINAL, Job, Status

DURATION_BUCKETS = (10, 30, 60, 120, 300, 600, 1200)  # seconds
WAIT_BUCKETS = (1, 5, 10, 30, 60, 300, 1200)  # seconds

Sums = Mapping[str, float]  # a name that is missing is 0


@dataclass(frozen=True, slots=True)
class Distribution:
    """A histogram of durations. The last bucket has no upper bound."""

    buckets: tuple[tuple[float, float], ...]  # (upper bound in seconds, number up to this bound)
    seconds: float  # the sum of all durations


@dataclass(frozen=True, slots=True)
class Totals:
    """The sums over all ended jobs. Jobs that were never started have no durations or waits."""

    jobs: Mapping[Status, int]
    durations: Distribution  # from the first start to the end
    waits: Distribution  # from the post to the first start
    gpu_seconds: float
    interruptions: int


def times_of(job: Job) -> tuple[float, float] | None:
    """The seconds from post to first start, and from there to the end; None if never started."""
    if job.started_at is None or job.finished_at is None:
        return None
    waited, ran = job.started_at - job.queued_at, job.finished_at - job.started_at
    return waited.total_seconds(), ran.total_seconds()


def sums_of(job: Job) -> dict[str, float]:
    """The sums that one ended job adds."""
    sums = {f"jobs_{job.status.value}": 1.0}
    if job.gpu_seconds:
        sums["gpu_seconds"] = job.gpu_seconds
    if job.interruptions:
        sums["interruptions"] = float(job.interruptions)
    if times := times_of(job):
        waited, ran = times
        sums |= _observed("duration", DURATION_BUCKETS, ran)
        sums |= _observed("wait", WAIT_BUCKETS, waited)
    return sums


def added(parts: Iterable[Sums]) -> dict[str, float]:
    """The sum of all parts, by name."""
    sums: defaultdict[str, float] = defaultdict(float)
    for part in parts:
        for name, value in part.items():
            sums[name] += value
    return dict(sums)


def totals_of(sums: Sums) -> Totals:
    """The totals that the sums stand for."""
    return Totals(
        jobs={status: int(sums.get(f"jobs_{status.value}", 0)) for status in sorted(TERMINAL)},
        durations=_distribution("duration", DURATION_BUCKETS, sums),
        waits=_distribution("wait", WAIT_BUCKETS, sums),
        gpu_seconds=sums.get("gpu_seconds", 0.0),
        interruptions=int(sums.get("interruptions", 0)),
    )


def _observed(name: str, bounds: Sequence[int], seconds: float) -> dict[str, float]:
    """Add one to the first bucket that holds the duration, so that one sum changes.

    The reader adds up the buckets.
    """
    bucket = next((str(bound) for bound in bounds if seconds <= bound), "more")
    return {f"{name}_{bucket}": 1.0, f"{name}_seconds": max(seconds, 0.0)}


def _distribution(name: str, bounds: Sequence[int], sums: Sums) -> Distribution:
    buckets, count = [], 0.0
    for bound in (*bounds, float("inf")):
        count += sums.get(f"{name}_{bound if bound in bounds else 'more'}", 0.0)
        buckets.append((float(bound), count))
    return Distribution(tuple(buckets), sums.get(f"{name}_seconds", 0.0))
