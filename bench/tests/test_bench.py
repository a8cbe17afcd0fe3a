"""The arithmetic of the benchmarks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench import __main__ as bench_all
from bench import results, run, table
from bench.cloud import MeasuredCloud
from bench.engines import Engines, QueueReport, idle_share
from bench.figures import Figure, Measurement, Result, results_of
from bench.memory import Memory

TIME = Figure(name="time", series="s", goal=100, factor=1.5, slack=10)
RATE = Figure(name="rate", series="s", goal=10, more_is_better=True)


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
        (result,) = results_of(measurement, [{"s": [1.0, 3.0]}, {"s": [90.0]}, {"s": [4.0]}])
        assert (list(result.runs), result.value) == ([2.0, 90.0, 4.0], 4.0)

    def test_a_series_without_values_gives_no_figure(self) -> None:
        measurement = Measurement(name="m", take=self.none, figures=[TIME])
        assert results_of(measurement, [{}, {"s": []}]) == []

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
        assert figure.is_worse(now, before) is is_worse

    def test_goals(self) -> None:
        assert [TIME.meets_goal(100), TIME.meets_goal(101)] == [True, False]
        assert [RATE.meets_goal(10), RATE.meets_goal(9)] == [True, False]

    def test_the_names_in_the_table_are_distinct(self) -> None:
        names = [f.name for m in bench_all.MEASUREMENTS for f in m.figures]
        assert len(names) == len(set(names))


class Drained:
    """A cloud without jobs."""

    async def drained(self) -> None:
        return None


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
        assert taken == [{}, {"s": [1.0]}]

    def test_the_table_names_figures_that_were_not_measured(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        table.show(results.compared([Result(figure=TIME, runs=[80.0])], None), [RATE], None)
        lines = capsys.readouterr().out.splitlines()
        assert [line for line in lines if "80 ms" in line and "met" in line]
        assert [line for line in lines if "rate" in line and "not measured" in line]


class TestKept:
    def test_kept_figures_that_were_not_measured_again_stay(self, tmp_path: Path) -> None:
        path = tmp_path / "results" / "all.json"
        results.keep(path, results.document([Result(figure=TIME, runs=[50.0])]))
        results.keep(path, results.document([Result(figure=RATE, runs=[12.0])]))
        kept = results.read(path)
        assert kept is not None
        assert {name: figure["value"] for name, figure in kept["figures"].items()} == {
            "time": 50.0,
            "rate": 12.0,
        }
        again = [Result(figure=TIME, runs=[80.0]), Result(figure=RATE, runs=[11.0])]
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
