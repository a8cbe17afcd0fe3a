"""Measurements and their figures.

A measurement fills series of numbers. A figure is one statistic of one series, with its goal and
its tolerance. It is the median of several runs, because other work on the machine spoils one run,
but seldom most of them.
"""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.cloud import MeasuredCloud

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
    """The interpolated percentile. A single value is its own percentile."""
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
    goal: float | None = None  # the most, or the least if more is better
    more_is_better: bool = False
    # A regression is worse than the kept result by more than this factor and this amount. Both
    # are needed, so that a change from 0.1 ms to 0.3 ms is no alarm.
    factor: float = 1.5
    slack: float = 0.0

    def of(self, series: Series) -> float | None:
        """The figure of one run; None if the run has no such series."""
        values = series.get(self.series)
        return STATISTICS[self.statistic](values) if values else None

    def meets_goal(self, value: float) -> bool | None:
        """Whether the value meets the goal; None without a goal."""
        if self.goal is None:
            return None
        return value >= self.goal if self.more_is_better else value <= self.goal

    def is_worse(self, value: float, before: float) -> bool:
        """Whether the value is a regression from `before`."""
        if self.more_is_better:
            return value < before / self.factor and value < before - self.slack
        return value > before * self.factor and value > before + self.slack


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One experiment, and its figures."""

    name: str
    take: Callable[[MeasuredCloud], Awaitable[Series]]
    figures: Sequence[Figure]
    workers: int = 1  # that the deployment must have
    needs_simulator: bool = False  # because it kills the engine, or sets its times
    is_counted: bool = False  # it counts and measures no time, so one run is enough


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A figure with the values of its runs."""

    figure: Figure
    runs: Sequence[float]

    @property
    def value(self) -> float:
        """The median of the runs."""
        return statistics.median(self.runs)


def results_of(measurement: Measurement, runs: Sequence[Series]) -> list[Result]:
    """The figures for which at least one run has a value."""
    found = []
    for figure in measurement.figures:
        values = [value for value in map(figure.of, runs) if value is not None]
        if values:
            found.append(Result(figure=figure, runs=values))
    return found
