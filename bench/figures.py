"""What a figure is: a name, where it comes from, what it should be and how far it may fall.

A measurement fills series of numbers; a figure is one statistic of one series. Of several runs the
median counts, since a machine that does something else for a moment spoils one run and not three.
"""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.stage import Stage

Series = Mapping[str, Sequence[float]]

STATISTICS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "p50": statistics.median,
    "p95": lambda values: quantile(values, 95),
    "p99": lambda values: quantile(values, 99),
    "max": max,
    "sum": sum,
    "mean": statistics.fmean,
}


def quantile(values: Sequence[float], percent: int) -> float:
    """The percentile, interpolated; the value itself where there is one."""
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number of the table."""

    name: str
    series: str
    statistic: str = "p50"
    unit: str = "ms"
    goal: float | None = None  # at most this, or at least where more is better
    more_is_better: bool = False
    # By what factor, and by what amount, it may be worse than the last kept result: both must be
    # exceeded, so that 0.1 ms that becomes 0.3 ms is no alarm.
    factor: float = 1.5
    slack: float = 0.0

    def of(self, series: Series) -> float | None:
        """The figure of one run; None if nothing was measured."""
        values = series.get(self.series)
        return STATISTICS[self.statistic](values) if values else None

    def meets_goal(self, value: float) -> bool | None:
        """Whether it is as it should be; None where nothing was promised."""
        if self.goal is None:
            return None
        return value >= self.goal if self.more_is_better else value <= self.goal

    def is_worse(self, value: float, before: float) -> bool:
        """Whether it has fallen by more than it may."""
        if self.more_is_better:
            return value < before / self.factor and value < before - self.slack
        return value > before * self.factor and value > before + self.slack


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One thing that is tried, and the figures that come of it."""

    name: str
    take: Callable[[Stage], Awaitable[Series]]
    figures: Sequence[Figure]
    workers: int = 1  # of the deployment that it needs
    needs_simulator: bool = False  # it ends the engine, or sets its times
    is_counted: bool = False  # no clock is in it, so one run tells all


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A figure with what came out."""

    figure: Figure
    runs: Sequence[float]

    @property
    def value(self) -> float:
        """The median of the runs."""
        return statistics.median(self.runs)


def results_of(measurement: Measurement, runs: Sequence[Series]) -> list[Result]:
    """The figures that every run has."""
    found = []
    for figure in measurement.figures:
        values = [value for value in map(figure.of, runs) if value is not None]
        if values:
            found.append(Result(figure=figure, runs=values))
    return found
