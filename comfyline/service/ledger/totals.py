"""What ended jobs come to: named sums, to which anybody may add in any order.

A job adds to them once, by its end alone, so what a job adds can be told from its row.
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
    """How often something took how long: (seconds at most, how often), cumulative; and the sum.

    The last bound is infinite.
    """

    buckets: tuple[tuple[float, float], ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Totals:
    """Of every job that has ended."""

    jobs: Mapping[Status, int]
    durations: Distribution  # from the first start to the end, of those that were started
    waits: Distribution  # from the post to the first start, likewise
    gpu_seconds: float
    interruptions: int


def times_of(job: Job) -> tuple[float, float] | None:
    """The seconds that an ended job waited for its first start, and ran; None: it never started."""
    if job.started_at is None or job.finished_at is None:
        return None
    waited, ran = job.started_at - job.queued_at, job.finished_at - job.started_at
    return waited.total_seconds(), ran.total_seconds()


def sums_of(job: Job) -> dict[str, float]:
    """What an ended job adds."""
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
    """All of them together."""
    sums: defaultdict[str, float] = defaultdict(float)
    for part in parts:
        for name, value in part.items():
            sums[name] += value
    return dict(sums)


def totals_of(sums: Sums) -> Totals:
    """What the sums say."""
    return Totals(
        jobs={status: int(sums.get(f"jobs_{status.value}", 0)) for status in sorted(TERMINAL)},
        durations=_distribution("duration", DURATION_BUCKETS, sums),
        waits=_distribution("wait", WAIT_BUCKETS, sums),
        gpu_seconds=sums.get("gpu_seconds", 0.0),
        interruptions=int(sums.get("interruptions", 0)),
    )


def _observed(name: str, bounds: Sequence[int], seconds: float) -> dict[str, float]:
    """Counted in the first bucket that holds it: one sum changes, and a reader adds up."""
    bucket = next((str(bound) for bound in bounds if seconds <= bound), "more")
    return {f"{name}_{bucket}": 1.0, f"{name}_seconds": max(seconds, 0.0)}


def _distribution(name: str, bounds: Sequence[int], sums: Sums) -> Distribution:
    buckets, so_far = [], 0.0
    for bound in (*bounds, float("inf")):
        so_far += sums.get(f"{name}_{bound if bound in bounds else 'more'}", 0.0)
        buckets.append((float(bound), so_far))
    return Distribution(tuple(buckets), sums.get(f"{name}_seconds", 0.0))
