"""What every JobStore shows of jobs and artifacts."""

from __future__ import annotations

from datetime import timedelta

import pytest

from comfyline.contract.ids import OwnerId
from comfyline.service.jobs import events as ev
from comfyline.service.jobs.job import Job, JobRecord, Status
from comfyline.service.jobs.lifecycle import advance
from comfyline.service.jobs.store import JobStore, ListPosition, due_shard, due_shards
from tests.contract.jobs.stored import SECOND, saved, stored
from tests.support.builders import (
    NOW,
    a_job,
    a_record,
    a_result,
    an_artifact,
    an_owner,
    canceled,
    claimed,
    running,
    some_params,
    succeeded,
)
from tests.support.due_jobs import due_jobs


class TestArtifacts:
    def test_the_list_is_shown_once_the_job_has_succeeded(self, job_store: JobStore) -> None:
        job = a_job()
        started = running(job)
        saved(job_store, job, claimed(job))
        files = [an_artifact(started, n) for n in range(20)]
        job_store.put_result(started, a_result(*files))
        record = job_store.read(job.id)
        assert record is not None
        assert record.artifacts == ()
        held = record.job
        start = job_store.save(held, advance(held, ev.Started(attempt=1), NOW))
        done = job_store.save(start, advance(start, ev.Succeeded(attempt=1), NOW))
        assert job_store.read(job.id) == a_record(done, *files)

    def test_the_list_of_a_running_job_is_shown_once_the_row_counts_it(
        self, job_store: JobStore
    ) -> None:
        job = a_job()
        started = running(job)
        saved(job_store, job, claimed(job), started)
        files = tuple(an_artifact(started, n) for n in range(2))
        job_store.list_stored(started, files, known=0)
        storing = job_store.save(started, advance(started, ev.Stored(attempt=1, count=2), NOW))
        assert job_store.read(job.id) == a_record(storing, *files)
        free = job_store.save(storing, advance(storing, ev.Interrupted(attempt=1), NOW))
        assert job_store.read(job.id) == JobRecord(free, some_params())

    def test_the_list_of_an_attempt_that_lost_is_not_shown(self, job_store: JobStore) -> None:
        job = a_job()
        loser = claimed(job)
        free = advance(loser, ev.Interrupted(attempt=1), NOW)
        done = succeeded(free)
        saved(job_store, job, loser, free, claimed(free), done)
        job_store.put_result(loser, a_result(an_artifact(loser)))
        job_store.put_result(done, a_result(an_artifact(done)))
        record = job_store.read(job.id)
        assert record is not None
        assert record.artifacts == (an_artifact(done),)


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
            after = [job, claimed(job), canceled(job)][n % 3]
            jobs.append(job if after is job else job_store.save(job, after))
        stored(job_store, a_job())  # of another owner
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

    def test_only_the_owners_jobs_newest_first(
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
    def test_only_jobs_of_the_given_status(
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

    def test_a_page_has_parameters_and_no_artifacts(
        self, job_store: JobStore, owner: OwnerId
    ) -> None:
        job = a_job(owner=owner)
        done = saved(job_store, job, claimed(job), succeeded(job))
        job_store.put_result(done, a_result(an_artifact(done)))
        [record] = job_store.page(owner, status=None, limit=10, after=None)
        assert record == JobRecord(done, some_params())

    def test_a_page_may_be_larger_than_one_batch_read(
        self, job_store: JobStore, owner: OwnerId
    ) -> None:
        for n in range(101):
            job_store.add(a_job(owner=owner, queued_at=NOW + n * SECOND))
        assert len(self.read(job_store, owner, limit=101)) == 101


class TestDue:
    def test_only_jobs_whose_due_time_has_come(self, job_store: JobStore) -> None:
        early, late = (stored(job_store, a_job(queued_at=NOW + n * SECOND)) for n in range(2))
        assert early.due_at is not None
        assert late.due_at is not None
        assert due_jobs(job_store, early.due_at - SECOND, settled=False) == []
        assert due_jobs(job_store, early.due_at, settled=False) == [early]
        assert due_jobs(job_store, late.due_at, settled=False) == [early, late]

    def test_the_due_time_moves_with_the_job(self, job_store: JobStore) -> None:
        job = a_job()
        sent = saved(job_store, job, advance(job, ev.TicketResent(), NOW))
        assert sent.due_at is not None
        assert job.due_at is not None
        assert due_jobs(job_store, job.due_at, settled=False) == []
        assert due_jobs(job_store, sent.due_at, settled=False) == [sent]

    def test_a_job_without_a_due_time_is_never_due(self, job_store: JobStore) -> None:
        job_store.add(a_job(due_at=None))
        assert due_jobs(job_store, NOW + timedelta(days=999), settled=False) == []

    def test_up_to_the_limit_most_overdue_first(self, job_store: JobStore) -> None:
        jobs = [a_job(queued_at=NOW - n * SECOND) for n in range(100)]
        for job in jobs:
            job_store.add(job)
        later, (shard, *_) = NOW + timedelta(days=1), due_shards(settled=False)
        in_shard = [job for job in reversed(jobs) if due_shard(job) == shard]
        assert job_store.due(later, len(jobs), shard) == in_shard
        assert job_store.due(later, 2, shard) == in_shard[:2]
