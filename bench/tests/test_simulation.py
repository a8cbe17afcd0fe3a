"""The simulation of the fleet: its sums are right, its claims hold for small fleets, and its page
is complete.
"""

from __future__ import annotations

import re
from functools import cache
from itertools import product, takewhile

import pytest

from bench.simulation import boot
from bench.simulation.bill import Bill
from bench.simulation.frontier import Point, beaten, default, measure
from bench.simulation.group import Group
from bench.simulation.policies import OURS, USUAL, policies
from bench.simulation.report import COLUMNS, PICTURE
from bench.simulation.service import Service
from bench.simulation.sight import Copies, Sight
from bench.simulation.workload import SHAPES, Workload, figures, mean_job_seconds
from localcloud.state import ROOT

DOCS = ROOT / "docs"
PAGE = (DOCS / "scaling.md").read_text()


SIZES = ("1", "100", "1,000", "10,000")


def table(head: str) -> list[list[str]]:
    """The rows of the page's table that begins so."""
    lines = PAGE[PAGE.index(head) :].splitlines()
    rows = takewhile(lambda line: line.startswith("|"), lines)
    return [line.strip("| ").split(" | ") for line in rows]


def a_workload(
    shape: str = "daily", *, max_workers: int = 5, days: float = 0.5, tick: int = 20
) -> Workload:
    return Workload(shape=shape, max_workers=max_workers, days=days, tick=tick, seed=7)


@cache
def points(shape: str) -> list[Point]:
    chosen = [p for p in policies() if p.is_default or p.name != OURS]
    return [measure(a_workload(shape), policy) for policy in chosen]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_days_are_as_busy_as_they_should_be(shape: str) -> None:
    load = a_workload(shape, max_workers=1000, days=4, tick=120)
    jobs = [n for coming in load.arrivals() for n in coming.jobs]
    work = sum(count * seconds for count, seconds in jobs) / (4 * 86_400) / 1000
    # In the shapes with heavy tails, a day consists of a few bursts.
    assert work == pytest.approx(
        figures()["load"]["mean_share"], rel=0.02 if shape == "daily" else 0.5
    )


def test_the_shares_of_job_times_and_hours_are_whole() -> None:
    assert sum(share for share, _ in figures()["job_times"]["bins"]) == pytest.approx(1)
    assert sum(figures()["daily"]["by_hour"]) / 24 == pytest.approx(1, rel=0.01)
    assert mean_job_seconds() == pytest.approx(28.9, rel=0.01)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_job_is_started_once_and_all_work_is_paid_for(shape: str) -> None:
    load = a_workload(shape)
    jobs = [n for coming in load.arrivals() for n in coming.jobs]
    bill = _run(load)
    assert bill.jobs == sum(count for count, _ in jobs)
    # Work that an interruption undid is subtracted, and done again.
    assert bill.worked == pytest.approx(sum(count * seconds for count, seconds in jobs))
    assert bill.paid > bill.worked


def _run(load: Workload) -> Bill:
    policy = next(p for p in policies() if p.is_default)
    service = Service(load)
    return service.run(policy.make(service, load.max_workers), wakes=True)


def test_the_same_seed_is_the_same_day() -> None:
    policy = next(p for p in policies() if p.is_default)
    assert measure(a_workload(days=0.2), policy) == measure(a_workload(days=0.2), policy)


@pytest.mark.parametrize("shape", SHAPES)
def test_no_usual_policy_is_better_than_the_default_in_cost_and_wait(shape: str) -> None:
    assert [other for mine, other in beaten(points(shape)) if mine.is_default] == []


@pytest.mark.parametrize("shape", SHAPES)
def test_an_always_full_fleet_costs_more_than_the_default(shape: str) -> None:
    full = next(p for p in points(shape) if p.setting.startswith("100%"))
    assert full.dollars > 1.2 * default(points(shape)).dollars


class TestCopies:
    """Second tickets of jobs that wait."""

    def test_a_short_queue_gets_one_for_each_job_at_each_look(self) -> None:
        copies, jobs = Copies(is_patient=True), [Group(0, 30, 50)]
        for minute in (60, 120, 180, 240):  # the looks are 30 s after the post, and 120 s later
            copies.sweep(minute, jobs, 50)
        assert copies.count(first_arrived=0) == 2 * 50

    def test_a_long_queue_gets_none(self) -> None:
        for is_patient, sent in ((True, 0), (False, 500)):
            copies = Copies(is_patient=is_patient)
            copies.sweep(60, [Group(0, 30, 500)], 500)
            assert copies.count(first_arrived=0) == sent

    def test_a_copy_is_gone_when_the_jobs_before_it_are(self) -> None:
        copies = Copies(is_patient=False)
        copies.sweep(60, [Group(0, 30, 5)], 5)
        assert copies.count(first_arrived=59) == 5
        assert copies.count(first_arrived=61) == 0


def test_copies_cost_more_and_spot_alone_waits_for_an_hour() -> None:
    policy = next(p for p in policies() if p.is_default)
    load = a_workload(max_workers=100, days=1, tick=10)
    seen = {sight: measure(load, policy, sight) for sight in Sight}
    deployed = seen[Sight.DEPLOYED]
    assert seen[Sight.COPIES].dollars > deployed.dollars
    assert seen[Sight.AGE].dollars >= deployed.dollars
    assert seen[Sight.SPOT_ONLY].p95 > 5 * deployed.p95


def test_an_instance_without_a_task_is_paid_for_as_long_as_the_template_says() -> None:
    source = (ROOT / "infra" / "constructs" / "managed_capacity.py").read_text()
    found = re.search(r"^SCALE_IN_AFTER_SECONDS = (\d+)$", source, re.M)
    assert found is not None
    assert int(found[1]) == figures()["boot"]["kept_seconds"]


class TestThePage:
    def test_every_world_has_the_default_and_each_usual_policy(self) -> None:
        rows = table("| GPUs at most |")
        assert rows[0] == list(COLUMNS)
        found = {(size, shape, policy) for size, shape, policy, *_ in rows[2:]}
        assert found == {(n, s, p) for n in SIZES for s in SHAPES for p in (OURS, *USUAL)}
        assert all(float(number) >= 0 for row in rows[2:] for number in row[4:])

    def test_each_remedy_is_taken_away_on_all_days(self) -> None:
        rows = table("| days | the scaler |")[2:]
        assert [(days, sight) for days, sight, *_ in rows] == list(product(SHAPES, Sight))

    def test_no_usual_policy_is_better_than_the_default(self) -> None:
        assert "Nowhere is a usual policy better than the scaler's default in both." in PAGE

    def test_the_picture_is_there(self) -> None:
        assert PICTURE in PAGE
        assert (DOCS / PICTURE).read_bytes().startswith(b"\x89PNG")

    def test_every_source_is_named(self) -> None:
        assert all(part["source"] in PAGE for part in figures().values())


def test_the_page_has_the_parts_of_a_boot() -> None:
    assert boot.section() in PAGE
    assert [way.name for way in boot.ways() if f"| {way.name} |" not in PAGE] == []


def test_a_boot_is_the_sum_of_its_parts() -> None:
    slow, fast = (way for way in boot.ways() if way.name in ("a group", "a group with a warm pool"))
    assert fast.seconds < slow.seconds
    assert fast.idle_month == pytest.approx(31)  # 200 GiB, and 375 MiB/s more than is free
    shares = [part.seconds for part in slow.parts.values()]
    assert sum(shares) == pytest.approx(slow.seconds)
    assert shares[2] == pytest.approx(10_000 / 58)


def test_every_figure_of_a_boot_says_where_it_comes_from() -> None:
    parts = [part for way in boot.ways() for part in way.parts.values()]
    assert {part.kind for part in parts} == {"published", "measured", "assumed"}
    assert all(part.source for part in parts)


def test_the_page_has_the_waits_with_each_boot() -> None:
    rows = table("| days | way to boot |")[2:]
    expected = {(shape, way.name) for shape in SHAPES for way in boot.ways()}
    assert {(row[0], row[1]) for row in rows} == expected
    assert len(rows) == len(expected)
    waits = {(row[0], row[1]): float(row[3]) for row in rows}
    for shape in SHAPES:
        assert waits[shape, "a group with a warm pool"] < waits[shape, "a group"]


def test_a_shorter_boot_lets_jobs_wait_less() -> None:
    (policy,) = (policy for policy in policies() if policy.is_default)
    slow, fast = (
        measure(a_workload(max_workers=1, days=2), policy, boot_seconds=seconds)
        for seconds in (600, 60)
    )
    assert fast.p50 < slow.p50
