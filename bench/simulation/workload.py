"""The simulated days: when jobs arrive and how long they take. All policies get the same jobs."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

DAY = 86_400
# Seconds of a tick, for fleets up to each size.
TICKS = {10: 1, 100: 2, 1_000: 5, 10_000: 10}
SHAPES = ("daily", "bursty", "heavy")

_Counts = npt.NDArray[np.int64]


@cache
def figures() -> dict[str, Any]:
    """The figures behind the days. Each part names its source."""
    return tomllib.loads(Path(__file__).with_name("workload.toml").read_text())


def mean_job_seconds() -> float:
    """The average GPU time of a job, in seconds."""
    return float(sum(share * seconds for share, seconds in figures()["job_times"]["bins"]))


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Jobs that arrive together: their number for each GPU time in seconds."""

    at: int
    jobs: tuple[tuple[int, float], ...]

    @property
    def count(self) -> int:
        """The number of jobs."""
        return sum(count for count, _ in self.jobs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One kind of traffic for a fleet of at most `max_workers` workers.

    Jobs are collected in ticks of `tick` seconds, and those of one tick are exchangeable. So the
    simulation of a large fleet takes as long as that of a medium one.
    """

    shape: str
    max_workers: int
    days: float
    tick: int
    seed: int = 1

    def arrivals(self) -> list[Arrivals]:
        """The jobs of all days in order."""
        rng = np.random.default_rng([self.seed, SHAPES.index(self.shape), self.max_workers])
        shares, times = zip(*figures()["job_times"]["bins"], strict=True)
        counts = self._counts(rng)
        drawn = ((int(n), rng.multinomial(counts[n], shares)) for n in np.flatnonzero(counts))
        return [
            Arrivals(n * self.tick, tuple((int(c), t) for c, t in zip(d, times, strict=True) if c))
            for n, d in drawn
        ]

    def _counts(self, rng: np.random.Generator) -> _Counts:
        ticks = int(self.days * DAY) // self.tick
        share = figures()["load"]["mean_share"]
        mean = share * self.max_workers / mean_job_seconds() * self.tick
        if self.shape == "heavy":
            return self._batches(rng, ticks, mean)
        at = np.arange(ticks) * self.tick
        if self.shape == "daily":
            rate = np.array(figures()["daily"]["by_hour"])[at // 3600 % 24]
        else:
            part, shape = figures()["bursty"]["minutes"] * 60, figures()["bursty"]["shape"]
            rate = rng.gamma(shape, 1 / shape, at[-1] // part + 1)[at // part]
        counts: _Counts = rng.poisson(mean * rate)
        return counts

    def _batches(self, rng: np.random.Generator, ticks: int, mean: float) -> _Counts:
        tail = figures()["heavy"]["tail"]
        least = max(1.0, figures()["heavy"]["least_share"] * self.max_workers)
        batches = rng.poisson(mean / (least * tail / (tail - 1)), ticks)
        sizes = least * (1 + rng.pareto(tail, batches.sum()))
        counts = np.zeros(ticks, dtype=np.int64)
        np.add.at(counts, np.repeat(np.arange(ticks), batches), np.rint(sizes).astype(np.int64))
        return counts


def workloads(days: dict[int, float]) -> Iterator[Workload]:
    """Every kind of traffic, for fleets of these sizes."""
    for max_workers, length in days.items():
        for shape in SHAPES:
            tick = next(tick for most, tick in TICKS.items() if max_workers <= most)
            # There are few batches, so one day of them would depend on chance.
            long = length * 4 if shape == "heavy" else length
            yield Workload(shape=shape, max_workers=max_workers, days=long, tick=tick)
