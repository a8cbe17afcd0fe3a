"""Each fault that is planted is found, and nothing else is."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from comfyline.contract.ids import ConnectionId, JobId, OwnerId
from comfyline.operate import audit as au
from comfyline.service.jobs.job import Artifact, Job
from tests.support.builders import NOW, a_job, an_artifact, canceled, running, succeeded

LATER = NOW + timedelta(hours=1)
DAY = timedelta(days=1)
NOBODY = JobId("job_nobody")

ENDED = succeeded(a_job())
MADE = an_artifact(ENDED)
FIRST = f"{ENDED.incarnation}-1"  # its only attempt
WAITS = replace(a_job(), due_at=LATER)
CONNECTION = ConnectionId("c")


def a_sibling(job_id: JobId, name: str, **changes: Any) -> au.Sibling:
    return replace(au.Sibling(job_id, name, NOW, LATER + DAY), **changes)


def a_file(key: str, **changes: Any) -> au.StoredFile:
    return replace(au.StoredFile(key, MADE.bytes, NOW), **changes)


def holding(*jobs: Job, **changes: Any) -> au.Holdings:
    """A deployment with one ended job and one that waits, whole in every part."""
    artifacts: dict[str, tuple[Artifact, ...]] = {ENDED.attempt_path: (MADE,)}
    whole = au.Holdings(
        read_at=LATER,
        jobs={job.id: job for job in (ENDED, WAITS, *jobs)},
        siblings=[
            a_sibling(ENDED.id, "input#f"),
            a_sibling(ENDED.id, f"job#artifacts#{FIRST}", attempt=FIRST),
            a_sibling(WAITS.id, "input#f"),
        ],
        artifacts=artifacts,
        slots=[au.HeldSlot(WAITS.owner, WAITS.id, NOW)],
        sockets={CONNECTION: au.Socket(CONNECTION, LATER, frozenset({WAITS.id}), is_open=True)},
        subscriptions=[au.Subscription(CONNECTION, WAITS.id, LATER)],
        files={
            MADE.key: a_file(MADE.key),
            "uploads/o/u": a_file("uploads/o/u"),
            "models/loras/m": a_file("models/loras/m"),
        },
        tickets=1,
    )
    return replace(whole, **changes)


def kinds(held: au.Holdings) -> list[tuple[str, str]]:
    report = au.audit(held)
    assert report.leftovers == []
    return [(finding.kind, finding.subject) for finding in report.findings]


def left(held: au.Holdings) -> list[tuple[str, str]]:
    report = au.audit(held)
    assert report.findings == []
    return [(finding.kind, finding.subject) for finding in report.leftovers]


def files(*more: au.StoredFile) -> dict[str, au.StoredFile]:
    return {file.key: file for file in (a_file(MADE.key), *more)}


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    report = au.audit(holding())
    assert report.is_clean(strict=True), report
    counts = {"queued": 1, "running": 0, "succeeded": 1, "tickets": 1, "files": 3, "bytes": 3702}
    assert counts.items() <= report.counts.items()


def test_a_leftover_counts_where_it_is_asked_to() -> None:
    report = au.audit(holding(siblings=[a_sibling(NOBODY, "input#f")]))
    assert report.is_clean(strict=False)
    assert not report.is_clean(strict=True)


class TestRows:
    def test_that_break_an_invariant(self) -> None:
        broken = replace(running(a_job()), lease=None, due_at=LATER)
        assert kinds(holding(broken)) == [("row", broken.id)]

    def test_that_are_none(self) -> None:
        assert kinds(holding(unreadable=["x job"])) == [("row", "x job")]

    def test_that_the_sweeper_has_not_seen(self) -> None:
        late = replace(WAITS, due_at=LATER - timedelta(minutes=4))
        assert kinds(holding(late)) == [("overdue", late.id)]

    def test_that_it_may_be_looking_at_now(self) -> None:
        assert kinds(holding(replace(WAITS, due_at=LATER - timedelta(minutes=2)))) == []


class TestItems:
    def test_without_a_job(self) -> None:
        assert left(holding(siblings=[a_sibling(NOBODY, "input#f")])) == [
            ("item", f"{NOBODY} input#f")
        ]

    def test_whose_job_is_being_put(self) -> None:
        assert kinds(holding(siblings=[a_sibling(NOBODY, "input#f", queued_at=LATER)])) == []

    @pytest.mark.parametrize("ends_at", [None, LATER - 4 * DAY])
    def test_that_nothing_removes(self, ends_at: Any) -> None:
        forever = a_sibling(NOBODY, "input#f", ends_at=ends_at)
        assert kinds(holding(siblings=[forever])) == [("item", f"{NOBODY} input#f")]

    def test_of_an_attempt_that_never_was(self) -> None:
        stray = a_sibling(ENDED.id, "job#artifacts#2", attempt="2")
        assert kinds(holding(siblings=[stray])) == [("item", f"{ENDED.id} job#artifacts#2")]


class TestArtifacts:
    def test_that_are_not_there(self) -> None:
        assert kinds(holding(files={})) == [("artifact", MADE.key)]

    def test_of_another_size(self) -> None:
        cut = {MADE.key: a_file(MADE.key, bytes=1)}
        assert kinds(holding(files=cut)) == [("artifact", MADE.key)]

    def test_that_nobody_listed(self) -> None:
        held = holding(artifacts={}, files={})
        assert kinds(held) == [("artifact", ENDED.id)]

    def test_of_a_job_that_is_being_removed(self) -> None:
        assert ENDED.expires_at
        over = replace(ENDED, expires_at=LATER, due_at=LATER)
        over = replace(over, retention=LATER - NOW)
        assert kinds(holding(over, files={})) == []


class TestFiles:
    @pytest.mark.parametrize(
        "key",
        [
            f"jobs/{NOBODY}/0a-1/0_a.png",
            f"jobs/{ENDED.id}/{ENDED.incarnation}-2/0_a.png",
            f"jobs/{ENDED.id}/0a-1/0_a.png",
        ],
        ids=["no such job", "no such attempt", "no such incarnation"],
    )
    def test_of_no_job_or_attempt(self, key: str) -> None:
        assert kinds(holding(files=files(a_file(key)))) == [("file", key)]

    @pytest.mark.parametrize("key", ["a", "jobs/x", "jobs/x/y/z", "else/a"])
    def test_that_lie_anywhere(self, key: str) -> None:
        assert kinds(holding(files=files(a_file(key)))) == [("file", key)]

    def test_that_came_only_now(self) -> None:
        fresh = a_file(f"jobs/{NOBODY}/0a-1/0_a.png", stored_at=LATER)
        assert kinds(holding(files=files(fresh))) == []

    def test_of_an_attempt_that_lost(self) -> None:
        again = replace(ENDED, attempt=2, history=(replace(ENDED.history[-1], attempt=2),))
        listed: dict[str, tuple[Artifact, ...]] = {again.attempt_path: ()}
        assert left(holding(again, artifacts=listed)) == [("file", MADE.key)]

    def test_of_a_job_that_shows_none(self) -> None:
        job = canceled(a_job())
        job = replace(job, attempt=1, history=(replace(job.history[-1], attempt=1),))
        key = an_artifact(job).key
        assert left(holding(job, files=files(a_file(key)))) == [("file", key)]

    def test_an_upload_that_the_bucket_keeps_too_long(self) -> None:
        old = a_file("uploads/o/old", stored_at=LATER - 12 * DAY)
        assert kinds(holding(files=files(old))) == [("file", "uploads/o/old")]


class TestSlots:
    @pytest.mark.parametrize("job_id", [ENDED.id, NOBODY], ids=["ended", "missing"])
    def test_of_an_ended_or_missing_job(self, job_id: JobId) -> None:
        slot = au.HeldSlot(OwnerId("fox"), job_id, NOW)
        assert kinds(holding(slots=[slot])) == [("slot", f"fox {job_id}")]

    def test_of_a_job_that_is_being_put(self) -> None:
        slot = au.HeldSlot(OwnerId("fox"), NOBODY, LATER)
        assert kinds(holding(slots=[slot])) == []


class TestSockets:
    def test_that_are_closed(self) -> None:
        gone = au.Socket(CONNECTION, LATER, frozenset(), is_open=False)
        assert left(holding(sockets={CONNECTION: gone})) == [("socket", CONNECTION)]

    def test_that_their_ttl_has_not_removed(self) -> None:
        old = au.Socket(CONNECTION, LATER - 4 * DAY, frozenset(), is_open=False)
        assert kinds(holding(sockets={CONNECTION: old})) == [("socket", CONNECTION)]

    def test_subscriptions_without_one(self) -> None:
        assert left(holding(sockets={})) == [("subscription", f"{CONNECTION} {WAITS.id}")]

    def test_subscriptions_that_their_ttl_has_not_removed(self) -> None:
        old = au.Subscription(CONNECTION, WAITS.id, LATER - 4 * DAY)
        assert kinds(holding(subscriptions=[old])) == [("subscription", f"{CONNECTION} {WAITS.id}")]


class TestTickets:
    def test_left_when_every_job_has_ended(self) -> None:
        held = holding(jobs={ENDED.id: ENDED}, slots=[], siblings=[])
        assert kinds(held) == [("ticket", "lanes")]

    def test_that_are_dead(self) -> None:
        assert kinds(holding(dead_tickets=2)) == [("ticket", "dead letters")]
