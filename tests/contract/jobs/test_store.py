"""What every JobStore does."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from bench.calls import KILOBYTE, size_of
from comfyline.adapters.aws.jobs import index as jobs_index
from comfyline.adapters.aws.jobs import siblings
from comfyline.adapters.aws.jobs.siblings import ORPHAN_MARGIN
from comfyline.adapters.aws.jobs.table import DynamoJobStore
from comfyline.adapters.memory.jobs import InMemoryJobStore
from comfyline.contract.ids import OwnerId, random_job_id
from comfyline.service.errors import Conflict, LeaseLost, RequestTooLarge
from comfyline.service.graphs.text_to_image import TextToImage, text_to_image_graph
from comfyline.service.jobs import events as ev
from comfyline.service.jobs.job import Job, JobParams, JobRecord, Status
from comfyline.service.jobs.lifecycle import advance
from comfyline.service.jobs.progress import Progress
from comfyline.service.jobs.store import JobStore, ListPosition
from tests.support.builders import (
    LEASE,
    NOW,
    PARAMS,
    a_graph,
    a_job,
    an_artifact,
    an_owner,
    canceled,
    claimed,
    running,
    some_params,
    succeeded,
)

SECOND = timedelta(seconds=1)
LATER = NOW + timedelta(minutes=1)
NOISE = random.Random(7).randbytes(1_000).hex()  # one byte in two survives compression


def stored(store: JobStore, job: Job) -> Job:
    """The job with what was asked, as `submit` leaves it."""
    store.put_request(job, some_params(), a_graph())
    assert store.add(job) is None
    return job


def saved(store: JobStore, *path: Job) -> Job:
    """The job after each step of its path was stored."""
    stored(store, path[0])
    for before, after in pairwise(path):
        store.save(before, after)
    return path[-1]


def refused(call: Callable[..., object], *arguments: Any) -> Job | None:
    """The row that the conflict carries."""
    with pytest.raises(Conflict) as conflict:
        call(*arguments)
    return conflict.value.current


class TestAdd:
    def test_a_new_job_is_added(self, job_store: JobStore) -> None:
        job = a_job()
        assert job_store.add(job) is None
        assert job_store.get(job.id) == job

    def test_an_id_that_is_taken_gives_the_job_that_has_it(self, job_store: JobStore) -> None:
        first = a_job()
        second = a_job(id=first.id, owner=first.owner, queued_at=LATER)
        job_store.add(first)
        assert job_store.add(second) == first
        assert job_store.get(first.id) == first

    def test_added_twice_by_a_retry_counts_as_added(self, job_store: JobStore) -> None:
        job = a_job()
        assert [job_store.add(job), job_store.add(job)] == [None, None]

    def test_an_unknown_job_is_none(self, job_store: JobStore) -> None:
        unknown = random_job_id(NOW)
        assert job_store.get(unknown) is None
        assert job_store.read(unknown) is None


class TestRequest:
    def test_what_was_asked_is_read_with_the_job(self, job_store: JobStore) -> None:
        job = a_job()
        params = JobParams(
            params={"prompt": "Füchse 🦊\x00", "deep": {"a": [1, 2.5, None, True, {"b": ""}]}},
            metadata={"a": "ü"},
        )
        job_store.put_request(job, params, a_graph())
        job_store.add(job)
        assert job_store.read(job.id) == JobRecord(job, params)

    @pytest.mark.parametrize("prompt", ["a red fox", NOISE])
    def test_so_is_it_with_a_graph_of_any_size(self, job_store: JobStore, prompt: str) -> None:
        job, params, graph = a_job(), some_params(prompt=prompt), a_graph(prompt)
        job_store.put_request(job, params, graph)
        job_store.add(job)
        assert job_store.read(job.id) == JobRecord(job, params)
        assert job_store.page(job.owner, status=None, limit=1, after=None) == [
            JobRecord(job, params)
        ]
        assert job_store.graph(job) == graph

    @pytest.mark.parametrize("prompts", [("a red fox", NOISE), (NOISE, "a red fox")])
    def test_a_replay_that_is_compiled_otherwise_leaves_a_whole_request(
        self, job_store: JobStore, prompts: tuple[str, str]
    ) -> None:
        job = a_job()
        for prompt in prompts:
            job_store.put_request(job, some_params(prompt=prompt), a_graph(prompt))
        job_store.add(job)
        assert job_store.graph(job) in [a_graph(prompt) for prompt in prompts]
        job_store.delete(job)
        with pytest.raises(LookupError):
            job_store.graph(job)

    def test_the_graph_comes_back(self, job_store: JobStore) -> None:
        job = a_job()
        odd = {"class_type": "X", "inputs": {"y": [1e-9, -0.5, None], "z": {"": "🦊"}}}
        graph = {**a_graph("ein Füchslein"), "9": odd}
        job_store.put_request(job, some_params(), graph)
        job_store.add(job)
        assert job_store.graph(job) == graph

    def test_what_no_job_claims_is_not_seen(self, job_store: JobStore) -> None:
        job = a_job()
        job_store.put_request(job, some_params(), a_graph())
        assert job_store.read(job.id) is None
        assert job_store.get(job.id) is None

    def test_each_job_has_its_own_request(self, job_store: JobStore) -> None:
        job = a_job()
        other = replace(job, fingerprint="f" * 64)
        job_store.put_request(job, some_params(), a_graph())
        job_store.put_request(other, some_params(prompt="a blue fox"), a_graph("a blue fox"))
        job_store.add(job)
        record = job_store.read(job.id)
        assert record is not None
        assert record.params == some_params()
        assert job_store.graph(job) == a_graph()

    def test_a_graph_that_is_too_large_is_refused(self, job_store: JobStore) -> None:
        noise = random.Random(7).randbytes(300_000).hex()  # one byte in two survives compression
        noise += random.Random(8).randbytes(300_000).hex()
        with pytest.raises(RequestTooLarge):
            job_store.put_request(a_job(), some_params(), a_graph(noise))

    def test_a_large_graph_that_compresses_well_is_not(self, job_store: JobStore) -> None:
        job = a_job()
        job_store.put_request(job, some_params(), a_graph("fox " * 500_000))
        assert job_store.graph(job) == a_graph("fox " * 500_000)

    def test_a_graph_that_is_gone_is_told(self, job_store: JobStore) -> None:
        with pytest.raises(LookupError):
            job_store.graph(a_job())


class TestSave:
    def test_a_change_is_stored(self, job_store: JobStore) -> None:
        job = stored(job_store, a_job())
        after = claimed(job)
        assert job_store.save(job, after) == after
        assert job_store.get(job.id) == after

    def test_a_whole_life_is_stored(self, job_store: JobStore) -> None:
        job = a_job()
        taken = claimed(job)
        started = advance(taken, ev.Started(attempt=1), NOW)
        given_back = advance(started, ev.Interrupted(attempt=1), NOW)
        again = claimed(given_back)
        started_again = advance(again, ev.Started(attempt=2), LATER)
        half = Progress(fraction=0.5, node="5", step=10, steps=20)
        halfway = advance(started_again, ev.Progressed(attempt=2, progress=half), LATER)
        done = advance(halfway, ev.Succeeded(attempt=2, gpu_seconds=1.5), LATER)
        path = (job, taken, started, given_back, again, started_again, halfway, done)
        assert job_store.get(saved(job_store, *path).id) == done

    def test_a_lost_race_carries_the_winner(self, job_store: JobStore) -> None:
        job = stored(job_store, a_job())
        winner = job_store.save(job, claimed(job))
        assert refused(job_store.save, job, claimed(job)) == winner
        assert refused(job_store.save, job, canceled(job)) == winner

    def test_the_same_change_twice_succeeds(self, job_store: JobStore) -> None:
        job = stored(job_store, a_job())
        after = claimed(job)
        job_store.save(job, after)
        assert job_store.save(job, after) == after

    def test_the_same_change_twice_with_a_heartbeat_between(self, job_store: JobStore) -> None:
        job = stored(job_store, a_job())
        after = claimed(job)
        job_store.save(job, after)
        renewed = job_store.renew(after, LATER + LEASE)
        assert job_store.save(job, after) == renewed

    def test_another_change_of_the_same_version_is_a_conflict(self, job_store: JobStore) -> None:
        # A cancel that took a worker's progress for itself would be lost.
        job = a_job()
        taken = claimed(job)
        before = saved(job_store, job, taken, advance(taken, ev.Started(attempt=1), NOW))
        progress = ev.Progressed(attempt=1, progress=Progress(fraction=0.5))
        winner = job_store.save(before, advance(before, progress, LATER))
        cancel = advance(before, ev.CancelRequested(), LATER)
        assert (winner.version, winner.lease) == (cancel.version, cancel.lease)
        assert refused(job_store.save, before, cancel) == winner

    def test_two_claims_of_one_worker_are_not_the_same(self, job_store: JobStore) -> None:
        job = stored(job_store, a_job())
        first = claimed(job)
        assert first.lease is not None
        again = ev.Claimed(worker_id=first.lease.worker_id, lease_expires_at=LATER)
        job_store.save(job, first)
        assert refused(job_store.save, job, advance(job, again, LATER)) == first

    def test_a_heartbeat_and_a_watch_are_not_overwritten(self, job_store: JobStore) -> None:
        job = a_job()
        before = saved(job_store, job, claimed(job))
        job_store.renew(before, LATER + LEASE)
        job_store.watch(job.id, LATER)
        after = job_store.save(before, advance(before, ev.Started(attempt=1), NOW))
        assert after.status is Status.RUNNING
        assert after.lease is not None
        assert after.lease.expires_at == LATER + LEASE
        assert after.watched_until == LATER
        assert job_store.get(job.id) == after

    def test_a_change_that_no_client_sees_is_stored(self, job_store: JobStore) -> None:
        job = stored(job_store, a_job())
        resent = advance(job, ev.TicketResent(), LATER)
        assert job_store.save(job, resent) == resent
        assert job_store.save(job, resent) == resent

    def test_a_change_of_nothing_is_no_error(self, job_store: JobStore) -> None:
        job = stored(job_store, a_job())
        assert job_store.save(job, job) == job

    def test_a_row_that_is_gone_is_not_made(self, job_store: JobStore) -> None:
        job = a_job()
        assert refused(job_store.save, job, claimed(job)) is None
        assert job_store.get(job.id) is None


class TestRenew:
    def test_the_lease_is_extended_and_nothing_else(self, job_store: JobStore) -> None:
        job = a_job()
        taken = saved(job_store, job, claimed(job))
        assert taken.lease is not None
        renewed = job_store.renew(taken, LATER)
        assert renewed == replace(taken, lease=replace(taken.lease, expires_at=LATER))

    def test_the_answer_carries_the_cancel(self, job_store: JobStore) -> None:
        job = a_job()
        taken = claimed(job)
        saved(job_store, job, taken, advance(taken, ev.CancelRequested(), NOW))
        assert job_store.renew(taken, LATER).is_canceling

    def test_an_earlier_attempt_is_fenced(self, job_store: JobStore) -> None:
        job = a_job()
        taken = claimed(job)
        free = advance(taken, ev.LeaseExpired(), NOW + LEASE)
        latest = saved(job_store, job, taken, free, claimed(free, now=NOW + LEASE))
        with pytest.raises(LeaseLost):
            job_store.renew(taken, LATER)
        assert job_store.get(job.id) == latest

    @pytest.mark.parametrize("attempt", [0, 1, 2])
    def test_nobody_holds_a_job_that_was_given_back(
        self, job_store: JobStore, attempt: int
    ) -> None:
        job = a_job()
        taken = claimed(job)
        saved(job_store, job, taken, advance(taken, ev.Interrupted(attempt=1), NOW))
        with pytest.raises(LeaseLost):
            job_store.renew(replace(taken, attempt=attempt), LATER)

    def test_nobody_holds_an_ended_or_an_unknown_job(self, job_store: JobStore) -> None:
        job = a_job()
        saved(job_store, job, claimed(job), succeeded(job))
        for holder in (claimed(job), claimed(a_job())):
            with pytest.raises(LeaseLost):
                job_store.renew(holder, LATER)


class TestAnotherJobOfTheSameId:
    """Its record was removed and its key used again: the counters start anew, the fence holds."""

    def test_an_attempt_of_the_first_neither_renews_nor_changes_the_second(
        self, job_store: JobStore
    ) -> None:
        first, second, taken = self._both_claimed(job_store)
        with pytest.raises(LeaseLost):
            job_store.renew(first, LATER + LEASE)
        for event in (ev.Started(attempt=1), ev.FailedWhileCanceling(attempt=1)):
            wanted = first if isinstance(event, ev.Started) else _canceling(first)
            assert refused(job_store.save, wanted, advance(wanted, event, LATER))
        assert job_store.get(second.id) == taken

    def test_a_change_of_the_first_is_not_taken_for_saved(self, job_store: JobStore) -> None:
        first, _, taken = self._both_claimed(job_store)
        assert refused(job_store.save, replace(first, lease=None, attempt=0), first) == taken

    def test_the_files_of_the_first_are_not_the_seconds(self, job_store: JobStore) -> None:
        first, second, taken = self._both_claimed(job_store)
        made = an_artifact(taken)
        job_store.put_artifacts(taken, [made])
        job_store.put_artifacts(first, [an_artifact(first, n) for n in range(3)])
        started = job_store.save(taken, advance(taken, ev.Started(attempt=1), LATER))
        job_store.save(started, advance(started, ev.Succeeded(attempt=1, gpu_seconds=1.0), LATER))
        record = job_store.read(second.id)
        assert record is not None
        assert record.artifacts == (made,)
        assert made.key not in {an_artifact(first, n).key for n in range(3)}

    def _both_claimed(self, store: JobStore) -> tuple[Job, Job, Job]:
        """Attempt 1 of a job that is gone, the job that has its id, and attempt 1 of that."""
        old = a_job()
        first = claimed(old)
        store.delete(saved(store, old, first, *_ended(first)))
        second = stored(store, a_job(id=old.id, owner=old.owner, queued_at=LATER))
        assert first.lease is not None
        claim = ev.Claimed(worker_id=first.lease.worker_id, lease_expires_at=LATER + LEASE)
        taken = store.save(second, advance(second, claim, LATER))
        assert (taken.version, taken.attempt, taken.status) == (first.version, 1, first.status)
        return first, second, taken


def _canceling(job: Job) -> Job:
    return advance(job, ev.CancelRequested(), LATER)


def _ended(job: Job) -> list[Job]:
    asked = advance(job, ev.CancelRequested(), NOW)
    return [asked, advance(asked, ev.Stopped(attempt=job.attempt), NOW)]


class TestWatch:
    def test_the_note_is_on_the_row(self, job_store: JobStore) -> None:
        job = stored(job_store, a_job())
        assert job_store.watch(job.id, LATER) == replace(job, watched_until=LATER)

    def test_it_is_never_shortened(self, job_store: JobStore) -> None:
        job = stored(job_store, a_job())
        for until, expected in [(LATER, LATER), (NOW, LATER), (LATER + SECOND, LATER + SECOND)]:
            row = job_store.watch(job.id, until)
            assert row is not None
            assert row.watched_until == expected

    def test_an_ended_job_is_left_as_it_is(self, job_store: JobStore) -> None:
        job = a_job()
        ended = saved(job_store, job, canceled(job))
        assert job_store.watch(job.id, LATER) == ended
        assert job_store.get(job.id) == ended

    def test_an_unknown_job_is_not_made(self, job_store: JobStore) -> None:
        unknown = random_job_id(NOW)
        assert job_store.watch(unknown, LATER) is None
        assert job_store.get(unknown) is None


class TestArtifacts:
    def test_the_list_counts_once_the_job_has_succeeded(self, job_store: JobStore) -> None:
        job = a_job()
        started = running(job)
        saved(job_store, job, claimed(job))
        made = [an_artifact(started, n) for n in range(20)]
        job_store.put_artifacts(started, made)
        record = job_store.read(job.id)
        assert record is not None
        assert record.artifacts == ()
        held = record.job
        start = job_store.save(held, advance(held, ev.Started(attempt=1), NOW))
        done = job_store.save(start, advance(start, ev.Succeeded(attempt=1), NOW))
        assert job_store.read(job.id) == JobRecord(done, some_params(), tuple(made))

    def test_it_shows_before_the_end_once_the_row_says_so(self, job_store: JobStore) -> None:
        job = a_job()
        started = running(job)
        saved(job_store, job, claimed(job), started)
        made = tuple(an_artifact(started, n) for n in range(2))
        job_store.put_artifacts(started, made)
        storing = job_store.save(started, advance(started, ev.Stored(attempt=1, count=2), NOW))
        assert job_store.read(job.id) == JobRecord(storing, some_params(), made)
        free = job_store.save(storing, advance(storing, ev.Interrupted(attempt=1), NOW))
        assert job_store.read(job.id) == JobRecord(free, some_params(), ())

    def test_what_a_losing_attempt_has_made_does_not(self, job_store: JobStore) -> None:
        job = a_job()
        loser = claimed(job)
        free = advance(loser, ev.Interrupted(attempt=1), NOW)
        done = succeeded(free)
        saved(job_store, job, loser, free, claimed(free), done)
        job_store.put_artifacts(loser, [an_artifact(loser)])
        job_store.put_artifacts(done, [an_artifact(done)])
        record = job_store.read(job.id)
        assert record is not None
        assert record.artifacts == (an_artifact(done),)


class TestReplace:
    def test_a_record_whose_retention_is_over_gives_way(self, job_store: JobStore) -> None:
        expired, job = expired_and_posted_again(job_store)
        job_store.replace(expired, job)
        job_store.replace(expired, job)  # the answer of the first was lost
        assert job_store.get(job.id) == job

    def test_the_slower_of_two_is_given_the_faster(self, job_store: JobStore) -> None:
        expired, job = expired_and_posted_again(job_store)
        job_store.replace(expired, job)
        slower = replace(job, queued_at=job.queued_at + SECOND)
        assert refused(job_store.replace, expired, slower) == job
        assert job_store.get(job.id) == job

    def test_a_record_that_was_removed_meanwhile_is_no_conflict(self, job_store: JobStore) -> None:
        expired, job = expired_and_posted_again(job_store)
        job_store.delete(expired)
        job_store.replace(expired, job)
        assert job_store.get(job.id) == job


def expired_and_posted_again(store: JobStore) -> tuple[Job, Job]:
    first = a_job()
    expired = saved(store, first, canceled(first))
    assert expired.expires_at is not None
    again = a_job(id=first.id, owner=first.owner, queued_at=expired.expires_at)
    return expired, again


class TestDelete:
    def test_the_job_and_what_belongs_to_it_are_gone(self, job_store: JobStore) -> None:
        job = a_job()
        ended = saved(job_store, job, claimed(job), succeeded(job))
        job_store.put_artifacts(ended, [an_artifact(ended)])
        job_store.delete(ended)
        assert job_store.get(job.id) is None
        job_store.add(ended)
        assert job_store.read(job.id) == JobRecord(ended, JobParams(params={}))
        with pytest.raises(LookupError):
            job_store.graph(ended)

    def test_a_job_that_has_changed_stays(self, job_store: JobStore) -> None:
        job = a_job()
        now = saved(job_store, job, claimed(job))
        assert refused(job_store.delete, job) == now
        assert job_store.read(job.id) == JobRecord(now, some_params())

    def test_twice_is_once(self, job_store: JobStore) -> None:
        job = stored(job_store, a_job())
        job_store.delete(job)
        job_store.delete(job)
        assert job_store.get(job.id) is None

    def test_the_next_job_of_the_same_id_keeps_its_request(self, job_store: JobStore) -> None:
        # The client posts the same again while the sweeper is at work.
        expired, job = expired_and_posted_again(job_store)
        job_store.put_request(job, some_params(), a_graph())
        job_store.delete(expired)
        job_store.add(job)
        assert job_store.read(job.id) == JobRecord(job, some_params())
        assert job_store.graph(job) == a_graph()

    def test_the_next_job_of_the_same_id_is_not_deleted(self, job_store: JobStore) -> None:
        expired, job = expired_and_posted_again(job_store)
        job = replace(job, version=expired.version)
        job_store.replace(expired, job)
        assert refused(job_store.delete, expired) == job


class TestPage:
    @pytest.fixture
    def owner(self) -> OwnerId:
        return an_owner()

    @pytest.fixture
    def jobs(self, job_store: JobStore, owner: OwnerId) -> list[Job]:
        """Ten of the owner's jobs, newest first: every third canceled, every third claimed."""
        jobs = []
        for n in range(10):
            job = stored(job_store, a_job(owner=owner, queued_at=NOW + n * SECOND))
            step = [job, claimed(job), canceled(job)][n % 3]
            jobs.append(job if step is job else job_store.save(job, step))
        stored(job_store, a_job())  # somebody else's
        return jobs[::-1]

    def read(
        self,
        store: JobStore,
        owner: OwnerId,
        *,
        status: Status | None = None,
        limit: int = 100,
        after: ListPosition | None = None,
    ) -> list[Job]:
        return [r.job for r in store.page(owner, status=status, limit=limit, after=after)]

    def test_newest_first_and_nobody_elses(
        self, job_store: JobStore, owner: OwnerId, jobs: list[Job]
    ) -> None:
        assert self.read(job_store, owner) == jobs
        assert self.read(job_store, an_owner()) == []

    @pytest.mark.parametrize("limit", [1, 3, 4, 10])
    def test_pages_join_without_gap_or_overlap(
        self, job_store: JobStore, owner: OwnerId, jobs: list[Job], limit: int
    ) -> None:
        found: list[Job] = []
        after: ListPosition | None = None
        while page := self.read(job_store, owner, limit=limit, after=after):
            assert len(page) == min(limit, len(jobs) - len(found))
            found += page
            after = ListPosition(page[-1].queued_at, page[-1].id)
        assert found == jobs

    @pytest.mark.parametrize("status", [Status.QUEUED, Status.CANCELED, Status.RUNNING])
    def test_of_one_status(
        self, job_store: JobStore, owner: OwnerId, jobs: list[Job], status: Status
    ) -> None:
        expected = [job for job in jobs if job.status is status]
        assert self.read(job_store, owner, status=status) == expected
        assert self.read(job_store, owner, status=status, limit=2) == expected[:2]

    def test_jobs_of_one_moment_are_ordered_by_id(
        self, job_store: JobStore, owner: OwnerId
    ) -> None:
        jobs = sorted(
            (stored(job_store, a_job(owner=owner)) for _ in range(4)),
            key=lambda job: job.id,
            reverse=True,
        )
        middle = ListPosition(jobs[1].queued_at, jobs[1].id)
        assert self.read(job_store, owner) == jobs
        assert self.read(job_store, owner, after=middle) == jobs[2:]

    def test_params_are_shown_and_artifacts_left_out(
        self, job_store: JobStore, owner: OwnerId
    ) -> None:
        job = a_job(owner=owner)
        done = saved(job_store, job, claimed(job), succeeded(job))
        job_store.put_artifacts(done, [an_artifact(done)])
        [record] = job_store.page(owner, status=None, limit=10, after=None)
        assert record == JobRecord(done, some_params())

    def test_more_than_a_batch(self, job_store: JobStore, owner: OwnerId) -> None:
        for n in range(101):
            job_store.add(a_job(owner=owner, queued_at=NOW + n * SECOND))
        assert len(self.read(job_store, owner, limit=101)) == 101


class TestDue:
    def test_what_is_due_and_nothing_else(self, job_store: JobStore) -> None:
        early, late = (stored(job_store, a_job(queued_at=NOW + n * SECOND)) for n in range(2))
        assert early.due_at is not None
        assert late.due_at is not None
        assert job_store.due(early.due_at - SECOND, 10) == []
        assert job_store.due(early.due_at, 10) == [early]
        assert job_store.due(late.due_at, 10) == [early, late]

    def test_the_due_time_moves_with_the_job(self, job_store: JobStore) -> None:
        job = a_job()
        sent = saved(job_store, job, advance(job, ev.TicketResent(), NOW))
        assert sent.due_at is not None
        assert job.due_at is not None
        assert job_store.due(job.due_at, 10) == []
        assert job_store.due(sent.due_at, 10) == [sent]

    def test_an_ended_job_is_due_when_its_retention_is_over(self, job_store: JobStore) -> None:
        job = a_job()
        ended = saved(job_store, job, canceled(job))
        assert ended.expires_at is not None
        assert job_store.due(ended.expires_at - SECOND, 10) == []
        assert job_store.due(ended.expires_at, 10) == [ended]

    def test_a_tidied_job_is_due_again_only_for_its_removal(self, job_store: JobStore) -> None:
        queued = a_job()
        job_store.add(queued)
        again = advance(running(queued), ev.Interrupted(attempt=1), NOW)
        ended = job_store.save(queued, succeeded(again))
        assert ended.due_at is not None
        assert ended.expires_at is not None
        assert job_store.due(ended.due_at, 10) == [ended]
        tidy = job_store.save(ended, advance(ended, ev.Tidied(), ended.due_at))
        assert job_store.due(ended.due_at, 10) == []
        assert job_store.due(ended.expires_at, 10) == [tidy]

    def test_a_job_without_a_due_time_never_is(self, job_store: JobStore) -> None:
        job_store.add(a_job(due_at=None))
        assert job_store.due(NOW + timedelta(days=999), 10) == []

    def test_up_to_the_limit_most_overdue_first(self, job_store: JobStore) -> None:
        jobs = [a_job(queued_at=NOW - n * SECOND) for n in range(30)]
        for job in jobs:
            job_store.add(job)
        assert job_store.due(NOW + timedelta(days=1), 7) == jobs[:-8:-1]


class TestRaces:
    """In memory, with threads; the emulator's races are AWS's."""

    def test_one_of_many_adds(self) -> None:
        store = InMemoryJobStore()
        first = a_job()
        jobs = [replace(first, queued_at=NOW + n * SECOND) for n in range(50)]
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(store.add, jobs))
        winner = jobs[answers.index(None)]
        assert Counter(answers) == {None: 1, winner: len(jobs) - 1}

    def test_one_of_many_claims(self) -> None:
        store = InMemoryJobStore()
        job = stored(store, a_job())

        def try_to_claim(_: int) -> bool:
            try:
                store.save(job, claimed(job))
            except Conflict:
                return False
            return True

        with ThreadPoolExecutor(16) as pool:
            assert sum(pool.map(try_to_claim, range(50))) == 1


class TestDynamo:
    """What only DynamoDB's store can show: its calls, its TTLs, an index that lags."""

    @pytest.fixture
    def calls(self, dynamo_job_store: DynamoJobStore) -> list[str]:
        """The calls that the store makes from now on, by name."""
        made: list[str] = []

        def note(model: Any, **_: Any) -> None:
            made.append(model.name)

        dynamo_job_store._client.meta.events.register("before-call.dynamodb", note)
        return made

    def test_a_submission_is_two_calls_and_a_replay_too(
        self, dynamo_job_store: DynamoJobStore, calls: list[str]
    ) -> None:
        job = stored(dynamo_job_store, a_job())
        assert calls == ["BatchWriteItem", "PutItem"]
        replay = replace(job, queued_at=LATER)
        dynamo_job_store.put_request(replay, some_params(), a_graph())
        assert dynamo_job_store.add(replay) == job
        assert calls[2:] == ["BatchWriteItem", "PutItem"]

    def test_a_usual_request_is_one_write_unit(self, dynamo_job_store: DynamoJobStore) -> None:
        job = a_job()
        prompt = "portrait of a red fox in fresh snow, golden hour, bokeh, 85mm, " * 2
        params = JobParams(params={**PARAMS, "prompt": prompt}, metadata={"order": "123"})
        asked = TextToImage(**params.params, model="v1-5-pruned-emaonly.safetensors")
        graph = text_to_image_graph(asked)
        dynamo_job_store.put_request(job, params, graph)
        (item,) = siblings_of(dynamo_job_store, job)
        assert item["sk"]["S"] == f"job#request#{job.fingerprint}"
        assert size_of(item) <= KILOBYTE

    @pytest.mark.parametrize("length", range(600, 1000, 10))
    def test_no_whole_request_is_more_than_a_write_unit(
        self, dynamo_job_store: DynamoJobStore, length: int
    ) -> None:
        job = a_job()
        dynamo_job_store.put_request(job, JobParams(params={}), a_graph(NOISE[:length]))
        items = siblings_of(dynamo_job_store, job)
        assert len(items) == 2 or size_of(items[0]) <= KILOBYTE

    def test_a_request_of_two_items_is_read_as_it_always_was(
        self, dynamo_job_store: DynamoJobStore
    ) -> None:
        job = a_job()
        dynamo_job_store.add(job)
        bodies = {
            f"job#params#{job.fingerprint}": siblings.packed_params(some_params()),
            f"input#{job.fingerprint}": siblings.pack(a_graph()),
        }
        for name, body in bodies.items():
            item: Any = {"pk": {"S": job.id}, "sk": {"S": name}, "body": {"B": body}}
            dynamo_job_store._client.put_item(TableName="jobs", Item=item)
        assert dynamo_job_store.read(job.id) == JobRecord(job, some_params())
        assert dynamo_job_store.graph(job) == a_graph()
        (record,) = dynamo_job_store.page(job.owner, status=None, limit=1, after=None)
        assert record.params == some_params()

    def test_reads_and_changes_are_one_call_each(
        self, dynamo_job_store: DynamoJobStore, calls: list[str]
    ) -> None:
        job = stored(dynamo_job_store, a_job())
        del calls[:]
        dynamo_job_store.read(job.id)
        dynamo_job_store.graph(job)
        taken = dynamo_job_store.save(job, claimed(job))
        dynamo_job_store.renew(taken, LATER)
        dynamo_job_store.watch(job.id, LATER)
        dynamo_job_store.watch(job.id, NOW)
        refused(dynamo_job_store.save, job, canceled(job))
        assert calls == ["Query", "GetItem", *["UpdateItem"] * 5]

    def test_a_page_is_filled_though_the_index_lags(
        self, dynamo_job_store: DynamoJobStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one, two, moved = (stored(dynamo_job_store, a_job()) for _ in range(3))
        dynamo_job_store.save(moved, canceled(moved))
        lagging = [random_job_id(NOW), one.id, moved.id, two.id]
        monkeypatch.setattr(jobs_index, "listed", lambda *_: iter(lagging))
        page = dynamo_job_store.page(one.owner, status=Status.QUEUED, limit=2, after=None)
        assert [record.job for record in page] == [one, two]

    def test_what_is_no_longer_due_is_left_out(
        self, dynamo_job_store: DynamoJobStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job = a_job()
        sent = saved(dynamo_job_store, job, advance(job, ev.TicketResent(), NOW))
        assert job.due_at is not None
        assert sent.due_at is not None
        monkeypatch.setattr(jobs_index, "due", lambda *_: [random_job_id(NOW), job.id])
        assert dynamo_job_store.due(job.due_at, 10) == []
        assert dynamo_job_store.due(sent.due_at, 10) == [sent]

    def test_what_belongs_to_a_job_outlives_it_and_not_for_ever(
        self, dynamo_job_store: DynamoJobStore
    ) -> None:
        job = stored(dynamo_job_store, a_job())
        dynamo_job_store.put_artifacts(claimed(job), [])
        found = siblings_of(dynamo_job_store, job)
        ttls = {item["sk"]["S"]: item.get("ttl", {}).get("N") for item in found}
        expected = (job.start_deadline + job.retention + ORPHAN_MARGIN).timestamp()
        assert ttls.keys() == {
            f"job#artifacts#{job.incarnation}-1",
            f"job#request#{job.fingerprint}",
        }
        assert all(0 <= float(ttl or 0) - expected < 1 for ttl in ttls.values())


def siblings_of(store: DynamoJobStore, job: Job) -> list[Any]:
    found = store._client.query(
        TableName="jobs",
        KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues={":pk": {"S": job.id}},
    )["Items"]
    return [item for item in found if item["sk"]["S"] != "job"]
