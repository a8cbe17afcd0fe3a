"""The audit finds each error in a deployment that was correct before, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from comfyline.contract.ids import ConnectionId, JobId, OwnerId
from comfyline.operate import audit as au
from comfyline.service.jobs.job import Job
from comfyline.service.jobs.result import Artifact
from tests.support.builders import (
    NOW,
    a_job,
    an_artifact,
    canceled,
    running,
    settled,
    succeeded,
)

LATER = NOW + timedelta(hours=1)
DAY = timedelta(days=1)
MISSING = JobId("job_missing")

ENDED = settled(succeeded(a_job()))
MADE = an_artifact(ENDED)
FIRST = f"{ENDED.incarnation}-1"  # its only attempt
WAITING = replace(a_job(), due_at=LATER)
CONNECTION = ConnectionId("c")


def a_sibling(job_id: JobId, name: str, **changes: Any) -> au.Sibling:
    return replace(au.Sibling(job_id, name, NOW, LATER + DAY), **changes)


def a_file(key: str, **changes: Any) -> au.StoredFile:
    return replace(au.StoredFile(key, MADE.bytes, NOW), **changes)


def holding(*jobs: Job, **changes: Any) -> au.Holdings:
    """A correct deployment with one ended and one waiting job, apart from the changes."""
    artifacts: dict[str, tuple[Artifact, ...]] = {ENDED.attempt_path: (MADE,)}
    correct = au.Holdings(
        read_at=LATER,
        jobs={job.id: job for job in (ENDED, WAITING, *jobs)},
        siblings=[
            a_sibling(ENDED.id, "input#f"),
            a_sibling(ENDED.id, f"job#artifacts#{FIRST}", attempt=FIRST),
            a_sibling(WAITING.id, "input#f"),
        ],
        artifacts=artifacts,
        slots=[au.HeldSlot(WAITING.owner, WAITING.id, NOW)],
        sockets={CONNECTION: au.Socket(CONNECTION, LATER, is_open=True)},
        subscriptions=[au.Subscription(CONNECTION, WAITING.id, LATER)],
        files={
            MADE.key: a_file(MADE.key),
            "uploads/o/u": a_file("uploads/o/u"),
            "models/loras/m": a_file("models/loras/m"),
        },
        tickets=1,
    )
    return replace(correct, **changes)


def found(held: au.Holdings) -> list[tuple[str, str]]:
    report = au.audit(held)
    assert report.leftovers == []
    return [(finding.kind, finding.subject) for finding in report.findings]


def left_over(held: au.Holdings) -> list[tuple[str, str]]:
    report = au.audit(held)
    assert report.findings == []
    return [(finding.kind, finding.subject) for finding in report.leftovers]


def stored(*more: au.StoredFile) -> dict[str, au.StoredFile]:
    return {file.key: file for file in (a_file(MADE.key), *more)}


def test_a_correct_deployment_is_clean() -> None:
    report = au.audit(holding())
    assert report.is_clean(strict=True), report
    counts = {"queued": 1, "running": 0, "succeeded": 1, "tickets": 1, "files": 3, "bytes": 3702}
    assert counts.items() <= report.counts.items()


def test_leftovers_count_only_if_strict() -> None:
    report = au.audit(holding(siblings=[a_sibling(MISSING, "input#f")]))
    assert report.is_clean(strict=False)
    assert not report.is_clean(strict=True)


class TestRows:
    def test_a_row_that_breaks_an_invariant(self) -> None:
        broken = replace(running(a_job()), lease=None, due_at=LATER)
        assert found(holding(broken)) == [("row", broken.id)]

    def test_a_row_that_cannot_be_read(self) -> None:
        assert found(holding(unreadable=["x job"])) == [("row", "x job")]

    def test_a_row_that_the_sweeper_has_missed(self) -> None:
        late = replace(WAITING, due_at=LATER - timedelta(minutes=4))
        assert found(holding(late)) == [("overdue", late.id)]

    def test_a_row_that_the_sweeper_may_be_processing_is_not_judged(self) -> None:
        assert found(holding(replace(WAITING, due_at=LATER - timedelta(minutes=2)))) == []

    def test_a_job_that_is_not_settled_an_hour_after_its_end(self) -> None:
        job = canceled(a_job(), now=NOW - timedelta(minutes=4))
        failed = replace(job, due_at=LATER)  # the sweeper tries again then
        assert found(holding(failed)) == [("settlement", job.id)]
        assert found(holding(settled(job))) == []
        just_ended = replace(canceled(a_job()), due_at=LATER)
        assert found(holding(just_ended)) == []


class TestItems:
    def test_an_item_without_a_job(self) -> None:
        assert left_over(holding(siblings=[a_sibling(MISSING, "input#f")])) == [
            ("item", f"{MISSING} input#f")
        ]

    def test_an_item_whose_job_may_be_on_its_way_is_not_judged(self) -> None:
        assert found(holding(siblings=[a_sibling(MISSING, "input#f", queued_at=LATER)])) == []

    @pytest.mark.parametrize("ends_at", [None, LATER - 4 * DAY])
    def test_an_item_that_no_ttl_removes(self, ends_at: Any) -> None:
        forever = a_sibling(MISSING, "input#f", ends_at=ends_at)
        assert found(holding(siblings=[forever])) == [("item", f"{MISSING} input#f")]

    def test_an_item_of_an_attempt_that_was_never_claimed(self) -> None:
        stray = a_sibling(ENDED.id, "job#artifacts#2", attempt="2")
        assert found(holding(siblings=[stray])) == [("item", f"{ENDED.id} job#artifacts#2")]


class TestArtifacts:
    def test_an_artifact_that_is_missing(self) -> None:
        assert found(holding(files={})) == [("artifact", MADE.key)]

    def test_an_artifact_of_another_size(self) -> None:
        cut = {MADE.key: a_file(MADE.key, bytes=1)}
        assert found(holding(files=cut)) == [("artifact", MADE.key)]

    def test_a_succeeded_job_without_a_list(self) -> None:
        held = holding(artifacts={}, files={})
        assert found(held) == [("artifact", ENDED.id)]

    def test_a_job_that_is_being_removed_is_not_judged(self) -> None:
        assert ENDED.expires_at
        over = replace(ENDED, expires_at=LATER, due_at=LATER)
        over = replace(over, retention=LATER - NOW)
        assert found(holding(over, files={})) == []


class TestFiles:
    @pytest.mark.parametrize(
        "key",
        [
            f"jobs/{ENDED.id}/{ENDED.incarnation}-2/0_a.png",
            f"jobs/{ENDED.id}/f{ENDED.incarnation}-1/0_a.png",
        ],
        ids=["no such attempt", "no such incarnation"],
    )
    def test_a_file_of_no_attempt(self, key: str) -> None:
        assert found(holding(files=stored(a_file(key)))) == [("file", key)]

    @pytest.mark.parametrize(
        "key",
        [f"jobs/{MISSING}/0a-1/0_a.png", f"jobs/{ENDED.id}/0a-1/0_a.png"],
        ids=["job", "incarnation"],
    )
    def test_a_file_whose_job_was_removed_is_left_to_the_lifecycle_rule(self, key: str) -> None:
        assert left_over(holding(files=stored(a_file(key)))) == [("file", key)]
        old = a_file(key, stored_at=LATER - au.ARTIFACT_LIFETIME - 2 * au.LIFECYCLE_LAG)
        assert found(holding(files=stored(old))) == [("file", key)]

    @pytest.mark.parametrize("key", ["a", "jobs/x", "jobs/x/y/z", "else/a"])
    def test_a_file_with_an_unknown_key(self, key: str) -> None:
        assert found(holding(files=stored(a_file(key)))) == [("file", key)]

    def test_a_new_file_is_not_judged(self) -> None:
        fresh = a_file(f"jobs/{MISSING}/0a-1/0_a.png", stored_at=LATER)
        assert found(holding(files=stored(fresh))) == []

    def test_a_file_of_an_attempt_that_lost(self) -> None:
        again = replace(ENDED, attempt=2, history=(replace(ENDED.history[-1], attempt=2),))
        listed: dict[str, tuple[Artifact, ...]] = {again.attempt_path: ()}
        assert left_over(holding(again, artifacts=listed)) == [("file", MADE.key)]

    def test_a_file_of_a_canceled_job(self) -> None:
        job = settled(canceled(a_job()))
        job = replace(job, attempt=1, history=(replace(job.history[-1], attempt=1),))
        key = an_artifact(job).key
        assert left_over(holding(job, files=stored(a_file(key)))) == [("file", key)]

    def test_an_upload_that_the_bucket_keeps_too_long(self) -> None:
        old = a_file("uploads/o/old", stored_at=LATER - 12 * DAY)
        assert found(holding(files=stored(old))) == [("file", "uploads/o/old")]


class TestSlots:
    @pytest.mark.parametrize("job_id", [ENDED.id, MISSING], ids=["ended", "missing"])
    def test_a_slot_of_an_ended_or_missing_job(self, job_id: JobId) -> None:
        slot = au.HeldSlot(OwnerId("fox"), job_id, NOW)
        assert found(holding(slots=[slot])) == [("slot", f"fox {job_id}")]

    def test_a_slot_of_a_job_that_may_be_on_its_way_is_not_judged(self) -> None:
        slot = au.HeldSlot(OwnerId("fox"), MISSING, LATER)
        assert found(holding(slots=[slot])) == []


class TestSockets:
    def test_a_closed_socket(self) -> None:
        gone = au.Socket(CONNECTION, LATER, is_open=False)
        assert left_over(holding(sockets={CONNECTION: gone})) == [("socket", CONNECTION)]

    def test_a_socket_that_its_ttl_has_not_removed(self) -> None:
        old = au.Socket(CONNECTION, LATER - 4 * DAY, is_open=False)
        assert found(holding(sockets={CONNECTION: old})) == [("socket", CONNECTION)]

    def test_a_subscription_without_a_socket(self) -> None:
        assert left_over(holding(sockets={})) == [("subscription", f"{CONNECTION} {WAITING.id}")]

    def test_a_subscription_that_its_ttl_has_not_removed(self) -> None:
        old = au.Subscription(CONNECTION, WAITING.id, LATER - 4 * DAY)
        assert found(holding(subscriptions=[old])) == [
            ("subscription", f"{CONNECTION} {WAITING.id}")
        ]


class TestTickets:
    def test_tickets_that_are_left_when_every_job_has_ended(self) -> None:
        held = holding(jobs={ENDED.id: ENDED}, slots=[], siblings=[])
        assert found(held) == [("ticket", "lanes")]

    def test_tickets_in_the_dead_letter_queue(self) -> None:
        assert found(holding(dead_tickets=2)) == [("ticket", "dead letters")]
