"""The arithmetic of the benchmarks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench import __main__ as bench_all
from bench import results, run, table
from bench.cloud import MeasuredCloud
from bench.engines import Engines, QueueReport, idle_share, idle_times
from bench.figures import Figure, Measurement, Result, Runs, Taken, results_of
from bench.memory import Memory

TIME = Figure(name="time", series="s", goal=100, factor=1.5, slack=10)
RATE = Figure(name="rate", series="s", unit="/s", goal=10, more_is_better=True)


def reports(*pairs: tuple[float, int]) -> list[QueueReport]:
    return [QueueReport(at, 0, remaining) for at, remaining in pairs]


class TestIdleShare:
    @pytest.mark.parametrize(
        ("changes", "share"),
        [
            ([(0, 1), (10, 0)], 0.0),
            ([(0, 1), (4, 0), (5, 1), (10, 0)], 0.1),
            ([(0, 1), (2, 2), (4, 1), (4, 1), (6, 2), (10, 0)], 0.0),
            ([(0, 1), (4, 0), (4.5, 0), (5, 1), (10, 0)], 0.1),
            ([(2, 1), (10, 0)], 0.2),
            ([(0, 1), (8, 0)], 0.2),
            ([], 1.0),
        ],
    )
    def test_is_the_time_from_the_end_of_a_prompt_to_the_arrival_of_the_next(
        self, changes: list[tuple[float, int]], share: float
    ) -> None:
        assert idle_share(reports(*changes), 0.0, 10.0) == pytest.approx(share)

    def test_counts_only_within_the_window(self) -> None:
        gaps = reports((0, 1), (1, 0), (3, 1), (6, 0), (7, 1), (12, 0))
        assert idle_share(gaps, 2.0, 10.0) == pytest.approx(2 / 8)


class TestIdleTimes:
    @pytest.mark.parametrize(
        ("changes", "times"),
        [
            ([(0, 1), (4, 0), (5, 1), (7, 0), (9, 1), (10, 0)], [1, 2]),
            ([(0, 1), (4, 0), (4.5, 0), (5, 1)], [1]),
            ([(0, 1), (2, 2), (4, 1), (6, 0)], []),  # what follows the last prompt is no switch
        ],
    )
    def test_each_lasts_from_the_end_of_a_prompt_to_the_next(
        self, changes: list[tuple[float, int]], times: list[float]
    ) -> None:
        assert idle_times(reports(*changes)) == pytest.approx(times)


class TestEngines:
    @pytest.mark.parametrize(
        ("changes", "at"),
        [
            ([(0, 1), (1, 2), (4, 1), (4.1, 1), (6, 0)], 4),
            ([(-3, 2), (-2, 1), (-1, 0), (0, 1), (1, 2), (4, 1), (6, 0)], 4),  # after another pair
            ([(0, 1), (4, 0), (5, 1), (6, 0)], None),  # the second prompt came too late
            ([(0, 1), (1, 2)], None),
        ],
    )
    def test_the_second_prompt_begins_when_the_first_has_left(
        self, changes: list[tuple[float, int]], at: float | None
    ) -> None:
        begun = Engines(reports(*changes)).second_begun(0.0)
        assert (begun and begun.at) == at


class TestFigures:
    async def none(self, _cloud: MeasuredCloud) -> dict[str, list[float]]:
        return {}

    def test_the_median_of_the_runs_counts(self) -> None:
        measurement = Measurement(name="m", take=self.none, figures=[TIME])
        (result,) = results_of(
            measurement, [Taken({"s": [1.0, 3.0]}), Taken({"s": [90.0]}), Taken({"s": [4.0]})]
        )
        assert (list(result.runs.values), result.value) == ([2.0, 90.0, 4.0], 4.0)

    def test_a_series_without_values_gives_no_figure(self) -> None:
        measurement = Measurement(name="m", take=self.none, figures=[TIME])
        assert results_of(measurement, [Taken({}), Taken({"s": []})]) == []

    @pytest.mark.parametrize(
        ("figure", "before", "now", "is_worse"),
        [
            (TIME, 100, 151, True),
            (TIME, 100, 149, False),
            (TIME, 1, 9, False),  # a large factor, but a small amount
            (RATE, 15, 9, True),
            (RATE, 15, 11, False),
            (RATE, 15, 40, False),
        ],
    )
    def test_a_regression_exceeds_a_factor_and_an_amount(
        self, figure: Figure, before: float, now: float, is_worse: bool
    ) -> None:
        assert figure.is_worse(Runs([now]), Runs([before])) is is_worse

    @pytest.mark.parametrize(
        ("figure", "before", "now", "is_worse"),
        [
            # The machine is three times as slow, and so is all that it does.
            (TIME, ([100, 110, 120], [20, 20, 20]), ([300, 330, 360], [60, 60, 60]), False),
            (RATE, ([30, 33, 36], [20, 20, 20]), ([10, 11, 12], [60, 60, 60]), False),
            # It is as slow, and the code is slower still.
            (TIME, ([100, 110, 120], [20, 20, 20]), ([600, 660, 720], [60, 60, 60]), True),
            (RATE, ([30, 33, 36], [20, 20, 20]), ([5, 5.5, 6], [60, 60, 60]), True),
            # The machine is as fast as before.
            (TIME, ([100, 110, 120], [20, 20, 20]), ([200, 220, 240], [20, 20, 20]), True),
            # It is faster, but most of the time of the figure is a wait.
            (TIME, ([100, 110, 120], [60, 60, 60]), ([100, 110, 120], [20, 20, 20]), False),
            # One run is as good as one before, so the others may have been disturbed.
            (TIME, ([100, 110, 120], [20, 20, 20]), ([115, 220, 240], [20, 20, 20]), False),
            # One run was disturbed, and its yardstick shows it.
            (TIME, ([100, 110, 120], [20, 20, 20]), ([200, 220, 900], [20, 20, 90]), True),
            # A result of an older benchmark has no yardsticks.
            (TIME, ([100, 110, 120], []), ([200, 220, 240], [20, 20, 20]), True),
        ],
    )
    def test_a_busy_machine_makes_no_regression_and_hides_none(
        self, figure: Figure, before: Any, now: Any, is_worse: bool
    ) -> None:
        assert figure.is_worse(Runs(*now), Runs(*before)) is is_worse

    def test_what_is_counted_is_compared_without_a_yardstick(self) -> None:
        dollars = Figure(name="cost", series="s", unit="$", factor=1.02)
        assert dollars.is_worse(Runs([21.0], [60.0]), Runs([20.0], [20.0]))
        assert not dollars.is_worse(Runs([20.0], [20.0]), Runs([20.0], [60.0]))

    def test_a_figure_has_yardsticks_only_if_all_of_its_runs_have_one(self) -> None:
        measurement = Measurement(name="m", take=self.none, figures=[TIME])
        runs = [Taken({"s": [1.0]}, 20.0), Taken({}, 30.0), Taken({"s": [2.0]}, 40.0)]
        (result,) = results_of(measurement, runs)
        assert result.runs == Runs([1.0, 2.0], [20.0, 40.0])
        (result,) = results_of(measurement, [*runs, Taken({"s": [3.0]})])
        assert result.runs == Runs([1.0, 2.0, 3.0], ())

    def test_goals(self) -> None:
        assert [TIME.meets_goal(100), TIME.meets_goal(101)] == [True, False]
        assert [RATE.meets_goal(10), RATE.meets_goal(9)] == [True, False]

    def test_the_names_in_the_table_are_distinct(self) -> None:
        names = [f.name for m in bench_all.MEASUREMENTS for f in m.figures]
        assert len(names) == len(set(names))


class Drained:
    """A cloud without jobs and without an engine."""

    async def drained(self) -> None:
        return None

    def step_ms(self, _milliseconds: float) -> None:
        raise OSError("no engine listens")


class TestRuns:
    async def test_a_run_that_fails_has_no_figures_and_stops_no_other_run(self) -> None:
        async def broken(_cloud: MeasuredCloud) -> dict[str, list[float]]:
            raise OSError("connection closed")

        async def sound(_cloud: MeasuredCloud) -> dict[str, list[float]]:
            return {"s": [1.0]}

        cloud: Any = Drained()
        taken = [
            await run._run(Measurement(name="m", take=take, figures=[TIME]), cloud, 1)
            for take in (broken, sound)
        ]
        assert [run.series for run in taken] == [{}, {"s": [1.0]}]

    def test_the_table_names_figures_that_were_not_measured(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        table.show(results.compared([Result(figure=TIME, runs=Runs([80.0]))], None), [RATE], None)
        lines = capsys.readouterr().out.splitlines()
        assert [line for line in lines if "80 ms" in line and "met" in line]
        assert [line for line in lines if "rate" in line and "not measured" in line]

    def test_each_regression_is_named(self, capsys: pytest.CaptureFixture[str]) -> None:
        kept = {"machine": results.machine(), "figures": {"time": {"runs": [100, 90, 95]}}}
        found = [
            Result(figure=TIME, runs=Runs([200.0, 201.0, 202.0])),
            Result(figure=RATE, runs=Runs([2.0])),
        ]
        table.show(results.compared(found, kept), [], kept)
        printed = capsys.readouterr().out
        assert "beyond noise: 1 of 2 figures" in printed
        assert "- time: 201 ms, kept 95" in printed


class TestKept:
    def test_kept_figures_that_were_not_measured_again_stay(self, tmp_path: Path) -> None:
        path = tmp_path / "results" / "all.json"
        results.keep(path, results.document([Result(figure=TIME, runs=Runs([50.0]))]))
        results.keep(path, results.document([Result(figure=RATE, runs=Runs([12.0]))]))
        kept = results.read(path)
        assert kept is not None
        assert {name: figure["value"] for name, figure in kept["figures"].items()} == {
            "time": 50.0,
            "rate": 12.0,
        }
        again = [Result(figure=TIME, runs=Runs([80.0])), Result(figure=RATE, runs=Runs([11.0]))]
        assert [line.is_worse for line in results.compared(again, kept)] == [True, False]

    def test_the_machine_is_recorded(self) -> None:
        machine = json.loads(results.document([]))["machine"]
        assert machine["cores"] > 0
        assert machine["commit"]


class TestMemory:
    MIB = 2**20

    @pytest.mark.parametrize(
        ("samples", "grows"),
        [
            ([50, 100, 100, 100, 100, 100, 100, 100], False),  # it only warms up
            ([100, 100, 100, 100, 150, 200, 250, 300], True),
            ([10, 10, 10, 10, 15, 20, 25, 30], False),  # a large factor, but a small amount
            ([500, 500, 500, 500, 510, 520, 525, 530], False),
            ([100, 300, 900], False),  # too few samples
        ],
    )
    def test_growth(self, samples: list[int], grows: bool) -> None:
        assert Memory.grows("worker-0", [mib * self.MIB for mib in samples]) is grows

    def test_the_emulators_memory_may_grow(self) -> None:
        assert not Memory.grows("emulator", [n * 100 * self.MIB for n in range(1, 20)])
