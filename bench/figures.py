"""Measurements and their figures, and the rule for regressions.

A measurement fills series of numbers. A figure is one statistic of one series, with its goal and
its tolerance. It is the median of several runs, because other work on the machine spoils one run,
but seldom most of them.

A busy machine is slow at everything. So each run has a yardstick, taken just before and after it: a
post of a graph straight to ComfyUI. A figure is a regression only if all of this holds:

1. it is worse than the kept figure by its factor and by its amount;
2. beside the yardsticks of the runs, it is still worse by its factor;
3. beside its yardstick, even the best run is worse than the worst kept run.
"""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.cloud import MeasuredCloud

Series = Mapping[str, Sequence[float]]

# How a figure of this unit changes on a machine that is slower: with its yardstick, or against it.
# Figures of other units are the same on every machine.
_TIMES, _RATES = ("ms", "s", "%"), ("/s",)

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

    def is_worse(self, now: Runs, before: Runs) -> bool:
        """Whether the runs are a regression, by the rule above."""
        value, kept = now.value, before.value
        amount = kept - value if self.more_is_better else value - kept
        if not (amount > self.slack and self._is_beyond(value, kept)):
            return False
        if now.yardsticks and before.yardsticks:  # results of older benchmarks have none
            now, before = self.beside(now), self.beside(before)
        return self._is_beyond(now.value, before.value) and self._is_apart(now, before)

    def beside(self, runs: Runs) -> Runs:
        """The runs as multiples of their yardsticks, if the unit has a use for them.

        A rate is multiplied: it is the number of calls in the time of a yardstick.
        """
        pairs = zip(runs.values, runs.yardsticks, strict=False)
        if runs.yardsticks and self.unit in _RATES:
            return Runs([value * stick / 1000 for value, stick in pairs])
        if runs.yardsticks and self.unit in _TIMES:
            return Runs([value / stick for value, stick in pairs])
        return Runs(runs.values)

    def _is_beyond(self, value: float, before: float) -> bool:
        if self.more_is_better:
            return value < before / self.factor
        return value > before * self.factor

    def _is_apart(self, now: Runs, before: Runs) -> bool:
        """Whether all runs are worse than all before."""
        if self.more_is_better:
            return max(now.values) < min(before.values)
        return min(now.values) > max(before.values)


@dataclass(frozen=True, slots=True)
class Runs:
    """The values of a figure, and the yardstick of each run in ms.

    There are no yardsticks if a run has none.
    """

    values: Sequence[float]
    yardsticks: Sequence[float] = ()

    @property
    def value(self) -> float:
        """The median of the runs."""
        return statistics.median(self.values)


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
    runs: Runs

    @property
    def value(self) -> float:
        """The median of the runs."""
        return self.runs.value


@dataclass(frozen=True, slots=True)
class Taken:
    """The series of one run of a measurement, and its yardstick in ms."""

    series: Series
    yardstick: float | None = None


def results_of(measurement: Measurement, runs: Sequence[Taken]) -> list[Result]:
    """The figures for which at least one run has a value."""
    found = []
    for figure in measurement.figures:
        having = [(value, run) for run in runs if (value := figure.of(run.series)) is not None]
        sticks = [run.yardstick for _, run in having if run.yardstick is not None]
        if having:
            complete = sticks if len(sticks) == len(having) else ()
            values = [value for value, _ in having]
            found.append(Result(figure=figure, runs=Runs(values, complete)))
    return found
