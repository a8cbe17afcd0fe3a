"""What an audit does not judge, because it is too young, or is removed by itself.

That it finds each error is shown by tests/integration/audit.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from comfyline.adapters.aws.access.slots import slots_shard
from comfyline.adapters.aws.attributes import time_of, ttl_of
from comfyline.adapters.aws.jobs import codec, siblings
from comfyline.contract.ids import JobId, OwnerId, random_job_id
from comfyline.operate.audit import findings as fi
from comfyline.operate.audit.check import audit
from comfyline.operate.audit.findings import Finding, Findings, Report
from comfyline.operate.audit.relations import ARTIFACT_LIFETIME
from comfyline.operate.audit.source import LIFECYCLE_LAG, Table, Terms
from comfyline.service.access.slots import Slot
from comfyline.service.jobs.job import Job
from tests.support.audited_stores import InMemoryStored
from tests.support.builders import NOW, a_graph, a_job, canceled, settled, some_params, succeeded

LATER = NOW + timedelta(hours=1)
DAY = timedelta(days=1)
FOX = OwnerId("fox")
WAITING = a_job(owner=FOX, ticket_sends=4, due_at=LATER)


def holding(*jobs: Job, tickets: int = 0) -> InMemoryStored:
    """A deployment with these jobs and their requests."""
    stored = InMemoryStored(
        tables={table: {} for table in Table},
        contents={},
        stored_at=NOW,
        queued=tickets,
        created=NOW - 365 * DAY,
    )
    for job in jobs:
        stored.put(Table.JOBS, {**codec.item_of(job), "sk": {"S": "job"}})
        for item in siblings.request_items(job, some_params(), a_graph(), None):
            stored.put(Table.JOBS, item)
    return stored


def audited(stored: InMemoryStored, at: datetime = LATER) -> Report:
    return audit(stored, Terms(clock=lambda: at, began_at=at))


def found(stored: InMemoryStored, at: datetime = LATER) -> list[tuple[str, str]]:
    report = audited(stored, at)
    assert report.leftovers == []
    return [(finding.kind, finding.subject) for finding in report.findings]


def left_over(stored: InMemoryStored, at: datetime = LATER) -> list[tuple[str, str]]:
    report = audited(stored, at)
    assert report.findings == []
    return [(finding.kind, finding.subject) for finding in report.leftovers]


def test_a_correct_deployment_is_clean() -> None:
    report = audited(holding(WAITING, tickets=1))
    assert report.is_clean(strict=True), report
    assert {"queued": 1, "running": 0, "tickets": 1, "files": 0}.items() <= report.counts.items()


def test_leftovers_count_only_if_strict() -> None:
    stored = holding(WAITING)
    stored.delete((Table.JOBS, WAITING.id, "job"))
    report = audited(stored)
    assert report.is_clean(strict=False)
    assert not report.is_clean(strict=True)


def test_a_row_that_the_sweeper_may_be_processing_is_not_judged() -> None:
    due = LATER - timedelta(minutes=2)
    assert found(holding(replace(WAITING, due_at=due))) == []
    late = replace(WAITING, due_at=due - timedelta(minutes=2))
    assert found(holding(late)) == [("overdue", late.id)]


def test_a_request_whose_job_may_be_on_its_way_is_not_judged() -> None:
    stored = holding(WAITING)
    stored.delete((Table.JOBS, WAITING.id, "job"))
    assert left_over(stored, NOW + timedelta(minutes=1)) == []
    assert left_over(stored) == [("item", f"{WAITING.id} {siblings.request_sk(WAITING)}")]


@pytest.mark.parametrize("ends_at", [None, LATER - 4 * DAY])
def test_an_item_that_no_ttl_removes_is_a_finding(ends_at: Any) -> None:
    stored = holding(WAITING)
    stored.delete((Table.JOBS, WAITING.id, "job"))
    name = siblings.request_sk(WAITING)
    item = stored.get((Table.JOBS, WAITING.id, name)) or {}
    ttl = {"ttl": ttl_of(ends_at)} if ends_at else {}
    stored.put(Table.JOBS, {n: v for n, v in item.items() if n != "ttl"} | ttl)
    assert ("item", f"{WAITING.id} {name}") in [
        (finding.kind, finding.subject) for finding in audited(stored).findings
    ]


def test_a_job_that_is_being_removed_is_not_judged() -> None:
    ended = settled(succeeded(a_job(retention=LATER - NOW)))
    stored = holding(ended)
    assert found(stored) == []  # no list, no file, no note: its retention is over


class TestFiles:
    KEY = f"jobs/{random_job_id(NOW)}/0a-1/0_a.png"

    def test_a_new_file_is_not_judged(self) -> None:
        stored = holding(WAITING)
        stored.put_file(self.KEY, b"x")
        stored.put_file("models/loras/m", b"x")
        stored.stored_at = LATER
        assert found(stored) == []

    def test_a_file_whose_job_was_removed_is_left_to_the_lifecycle_rule(self) -> None:
        stored = holding(WAITING)
        stored.put_file(self.KEY, b"x")
        assert left_over(stored) == [("file", self.KEY)]
        stored.stored_at = LATER - ARTIFACT_LIFETIME - 2 * LIFECYCLE_LAG
        assert found(stored) == [("file", self.KEY)]

    def test_an_upload_that_the_bucket_keeps_too_long(self) -> None:
        stored = holding(WAITING)
        key = f"uploads/{'0' * 32}/upl_{'0' * 26}"
        stored.put_file(key, b"x")
        assert found(stored) == []
        stored.stored_at = LATER - 12 * DAY
        assert found(stored) == [("file", key)]

    @pytest.mark.parametrize("key", ["a", "jobs/x", "jobs/x/y/z", "else/a"])
    def test_a_file_with_an_unknown_key(self, key: str) -> None:
        stored = holding(WAITING)
        stored.put_file(key, b"x")
        assert found(stored) == [("file", key)]


class TestSlots:
    def put_slot(self, stored: InMemoryStored, slot: Slot) -> None:
        micro = int(slot.queued_at.timestamp() * 1e6)
        name = {"S": f"fox#slot#{micro:014x}#{slot.job_id}"}
        stored.put(Table.OWNERS, {"pk": slots_shard(FOX), "sk": name, "part": {"N": "0"}})
        count = {"pk": slots_shard(FOX), "sk": {"S": "fox#part#0"}, "n": {"N": "1"}}
        stored.put(Table.OWNERS, count)

    def test_a_slot_of_a_job_that_may_be_on_its_way_is_not_judged(self) -> None:
        stored = holding(WAITING)
        self.put_slot(stored, Slot(JobId("job_none"), LATER))
        assert found(stored) == []

    def test_a_slot_that_was_just_freed_for_a_job_that_just_ended_is_not_judged(self) -> None:
        job = canceled(a_job(owner=FOX, has_slot=True), now=LATER)
        stored = holding(replace(job, due_at=LATER))
        self.put_slot(stored, Slot(job.id, job.queued_at))
        assert found(stored) == []

    def test_a_job_that_ended_between_two_reads_needs_no_slot(self) -> None:
        job = replace(WAITING, has_slot=True)
        stored = holding(job)
        rows = [*stored.items(Table.JOBS)]
        ended = canceled(job, now=LATER)
        stored.put(Table.JOBS, {**codec.item_of(ended), "sk": {"S": "job"}})
        stored.items = lambda table: iter(rows if table is Table.JOBS else ())  # type: ignore[assignment,method-assign]
        assert found(stored) == []


class TestSettlement:
    def test_a_job_that_is_not_settled_an_hour_after_its_end(self) -> None:
        job = canceled(a_job(), now=NOW - timedelta(minutes=4))
        job = replace(job, queued_at=job.queued_at - timedelta(hours=1), due_at=LATER)
        kinds = {kind for kind, _ in found(holding(job))}
        assert "settlement" in kinds
        just_ended = replace(canceled(a_job()), due_at=LATER)
        assert found(holding(just_ended)) == []


class TestTickets:
    def test_tickets_that_are_left_when_every_job_has_ended(self) -> None:
        assert found(holding(tickets=1)) == [("ticket", "lanes")]

    def test_tickets_in_the_dead_letter_queue(self) -> None:
        stored = holding(WAITING)
        stored.dead = 2
        assert found(stored) == [("ticket", "dead letters")]


def test_an_item_that_damages_the_key_of_its_partition_stops_nothing() -> None:
    stored = holding(WAITING)
    stored.put(Table.JOBS, {"pk": {"S": "job_x"}, "sk": {"S": "job"}, "queued_at": time_of(NOW)})
    subjects = [subject for _, subject in found(stored)]
    assert subjects == ["job_x", "job_x job"]


def test_a_report_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fi, "MAX_REPORTED", 10)
    collected = Findings()
    collected.add(Finding("row", str(n), "x") for n in range(25))
    collected.add([Finding("row", "0", "x")])
    report = collected.report({})
    assert (len(report.findings), report.more_findings) == (10, 15)
