"""Runs every policy on every workload, and finds the policies that are better in cost and wait."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from bench.simulation.boot import Way, ways
from bench.simulation.policies import OURS, Policy, policies
from bench.simulation.service import Service
from bench.simulation.sight import Sight
from bench.simulation.workload import Workload
from infra.prices import gpu_hour

GPU = "g6.xlarge"
# Two points that differ by less than this share count as equal. Another seed moves points as far.
NOISE = 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """The result of a policy in one setting: waits in seconds, dollars for 1,000 jobs."""

    shape: str
    max_workers: int
    policy: str
    setting: str
    is_default: bool
    p50: float
    p95: float
    paid_over_worked: float
    dollars: float

    def beats(self, other: Point) -> bool:
        """Whether this point is better in both cost and wait, by more than noise."""
        cheaper = self.dollars < other.dollars * (1 - NOISE)
        return cheaper and self.p95 < other.p95 * (1 - NOISE)


def measure(
    workload: Workload,
    policy: Policy,
    sight: Sight = Sight.DEPLOYED,
    boot_seconds: float | None = None,
) -> Point:
    """Run a policy on a workload."""
    service = Service(workload, sight, boot_seconds)
    bill = service.run(policy.make(service, workload.max_workers), wakes=policy.wakes)
    dollars = (bill.paid_spot * gpu_hour(GPU, 1) + bill.paid_on_demand * gpu_hour(GPU, 0)) / 3600
    return Point(
        shape=workload.shape,
        max_workers=workload.max_workers,
        policy=policy.name,
        setting=policy.setting,
        is_default=policy.is_default,
        p50=bill.wait(0.5),
        p95=bill.wait(0.95),
        paid_over_worked=bill.paid / bill.worked,
        dollars=dollars / bill.jobs * 1000,
    )


def _all_policies(workload: Workload) -> list[Point]:
    return [measure(workload, policy) for policy in policies()]


def measure_all(workloads: Sequence[Workload]) -> list[list[Point]]:
    """Run every policy on every workload, with one process for each core."""
    with ProcessPoolExecutor() as pool:
        return list(pool.map(_all_policies, workloads))


def _all_sights(workload: Workload) -> list[tuple[Sight, Point]]:
    policy = next(policy for policy in policies() if policy.is_default)
    return [(sight, measure(workload, policy, sight)) for sight in Sight]


def measure_sights(workloads: Sequence[Workload]) -> list[tuple[Sight, Point]]:
    """Run the scaler with its default settings on every workload, with each of the sights."""
    with ProcessPoolExecutor() as pool:
        return [seen for sights in pool.map(_all_sights, workloads) for seen in sights]


def measure_boots(workloads: Sequence[Workload]) -> list[tuple[Way, Point]]:
    """Run the scaler with its default settings on every workload, with each way to boot."""
    policy = next(policy for policy in policies() if policy.is_default)
    return [
        (way, measure(workload, policy, boot_seconds=way.seconds))
        for workload in workloads
        for way in ways()
    ]


def beaten(points: Sequence[Point]) -> Iterator[tuple[Point, Point]]:
    """The settings of the scaler that are beaten, each with the cheapest usual policy that does."""
    ours = [point for point in points if point.policy == OURS]
    usual = [point for point in points if point.policy != OURS]
    for mine in ours:
        better = [other for other in usual if other.beats(mine)]
        if better:
            yield mine, min(better, key=lambda point: point.dollars)


def rival(points: Sequence[Point], policy: str) -> Point:
    """The setting of a usual policy that is compared with the scaler's default.

    It is the cheapest setting that waits no longer, or the fastest one if all wait longer.
    """
    ours = default(points)
    settings = [point for point in points if point.policy == policy]
    as_fast = [point for point in settings if point.p95 <= ours.p95]
    if as_fast:
        return min(as_fast, key=lambda point: point.dollars)
    return min(settings, key=lambda point: point.p95)


def default(points: Sequence[Point]) -> Point:
    """The scaler with its default settings."""
    return next(point for point in points if point.is_default)
