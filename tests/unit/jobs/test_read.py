"""Owners see their jobs as they are by the clock, whenever the sweeper last ran."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from comfyline.contract.ids import JobId, OwnerId, random_job_id
from comfyline.contract.limits import MAX_SEARCHED_JOBS
from comfyline.service.errors import JobNotFound
from comfyline.service.jobs.cancel import cancel
from comfyline.service.jobs.finish import GiveBack
from comfyline.service.jobs.job import Job, JobRecord, Status
from comfyline.service.jobs.read import SEARCHED_AT_ONCE, ListFilter, read_job, read_page
from comfyline.service.jobs.store import JobStore
from tests.support.builders import LEASE, NOW, an_artifact, an_owner
from tests.support.crashes import Process
from tests.support.ports import meanwhile
from tests.support.world import DEFAULTS, World

MOMENT = timedelta.resolution


def read(
    world: World, job_id: JobId, owner: OwnerId | None = None, store: JobStore | None = None
) -> JobRecord:
    jobs = store or world.store
    return read_job(job_id, owner or world.owner, store=jobs, clock=world.clock)


def page(
    world: World,
    limit: int = 20,
    cursor: str | None = None,
    status: Status | None = None,
    **pairs: str,
) -> tuple[list[Job], str | None]:
    """A page of the owner's jobs, and the cursor of the next page."""
    records, next_cursor = read_page(
        world.owner,
        asked=ListFilter(status=status, metadata=pairs),
        limit=limit,
        cursor=cursor,
        store=world.store,
        clock=world.clock,
    )
    return [record.job for record in records], next_cursor


class TestOneJob:
    def test_one_call_reads_the_job_its_parameters_and_its_artifacts(self) -> None:
        world = World()
        world.submit({"prompt": "a red fox", "metadata": {"for": "mum"}})
        job = world.succeeded()
        process = Process(10**9, answered=False)
        record = read(world, job.id, store=process.using(world.store))
        assert (record.job, process.calls) == (job, 1)
        assert record.params.params["prompt"] == "a red fox"
        assert record.params.metadata == {"for": "mum"}
        assert record.artifacts == (an_artifact(job),)

    def test_an_unknown_job_or_one_of_another_owner_is_not_found(self) -> None:
        world = World()
        job = world.submit().job
        for job_id, owner in [(random_job_id(NOW), world.owner), (job.id, an_owner())]:
            with pytest.raises(JobNotFound):
                read(world, job_id, owner)

    def test_a_job_past_its_retention_is_not_found(self) -> None:
        world = World()
        world.submit()
        job = world.succeeded()
        world.clock.advance(DEFAULTS.retention - MOMENT)
        assert read(world, job.id).job == job
        world.clock.advance(MOMENT)
        with pytest.raises(JobNotFound):
            read(world, job.id)


class TestStartDeadline:
    def test_a_read_expires_an_overdue_job(self) -> None:
        world = World()
        job = world.submit().job
        world.clock.advance(DEFAULTS.start_deadline - MOMENT)
        assert read(world, job.id).job == job
        world.clock.advance(MOMENT)
        shown = read(world, job.id).job
        assert (shown.status, shown.version) == (Status.EXPIRED, job.version + 1)
        assert (shown, shown.finished_at) == (world.row(job.id), world.clock())

    def test_two_concurrent_reads_expire_the_job_once(self) -> None:
        world = World()
        job = world.submit().job
        world.clock.advance(DEFAULTS.start_deadline)
        store = meanwhile(world.store, "save", lambda: read(world, job.id))
        assert read(world, job.id, store=store).job == world.row(job.id)
        assert world.row(job.id).version == job.version + 1

    def test_a_read_does_not_expire_a_job_that_a_worker_holds(self) -> None:
        world = World()
        world.submit({"prompt": "a red fox", "start_deadline_seconds": 1})
        job, _ = world.claimed()
        world.clock.advance(LEASE / 2)
        assert read(world, job.id).job == job

    def test_a_read_does_not_expire_a_job_that_has_run_before(self) -> None:
        world = World()
        world.submit()
        job, ticket = world.started()
        waiting = world.finisher().end(job, ticket, GiveBack())
        world.clock.advance(DEFAULTS.start_deadline)
        assert read(world, job.id).job == waiting

    def test_after_a_concurrent_purge_the_read_shows_the_job_as_read(self) -> None:
        world = World()
        job = world.submit().job
        world.clock.now = job.start_deadline

        def expire_and_purge() -> None:
            read(world, job.id)
            world.store.delete(world.settle(job.id))

        store = meanwhile(world.store, "save", expire_and_purge)
        assert read(world, job.id, store=store).job == job
        assert world.store.get(job.id) is None

    def test_after_a_concurrent_cancel_the_read_shows_the_canceled_job(self) -> None:
        world = World()
        job = world.submit().job

        def cancel_a_little_earlier() -> None:
            earlier = world.clock() - MOMENT
            cancel(job.id, world.owner, store=world.store, clock=lambda: earlier)

        world.clock.advance(DEFAULTS.start_deadline)
        store = meanwhile(world.store, "save", cancel_a_little_earlier)
        assert read(world, job.id, store=store).job.status is Status.CANCELED

    def test_a_list_expires_overdue_jobs_too(self) -> None:
        world = World()
        job = world.submit().job
        world.clock.advance(DEFAULTS.start_deadline)
        [shown], _ = page(world)
        assert (shown.status, shown) == (Status.EXPIRED, world.row(job.id))


class TestList:
    def test_only_the_owners_jobs_newest_first(self) -> None:
        world = World()
        jobs = many(world, 3)
        world.submit(owner=an_owner())
        assert page(world) == (jobs[::-1], None)

    @pytest.mark.parametrize("limit", [1, 2, 3, 4, 5])
    def test_pages_join_without_gap_or_overlap(self, limit: int) -> None:
        world = World()
        jobs = many(world, 4)
        assert whole_list(world, limit) == jobs[::-1]

    def test_jobs_of_the_same_time_are_all_listed(self) -> None:
        world = World()
        ids = {world.submit({"prompt": f"{n}"}).job.id for n in range(5)}
        found = [job.id for job in whole_list(world, 2)]
        assert len(found) == 5
        assert set(found) == ids

    def test_new_jobs_between_two_pages_do_not_move_the_second_page(self) -> None:
        world = World()
        jobs = many(world, 4)
        first, cursor = page(world, 2)
        many(world, 3)
        second, _ = page(world, 2, cursor)
        assert first + second == jobs[::-1]

    def test_only_jobs_of_the_given_status(self) -> None:
        world = World()
        many(world, 1)
        done = world.succeeded()
        [waiting] = many(world, 1)
        assert page(world, status=Status.SUCCEEDED) == ([done], None)
        assert page(world, status=Status.QUEUED) == ([waiting], None)
        assert page(world, status=Status.FAILED) == ([], None)

    def test_jobs_past_their_retention_are_left_out_and_do_not_end_the_list(self) -> None:
        world = World()
        [old] = many(world, 1)
        for job in many(world, 2):
            cancel(job.id, world.owner, store=world.store, clock=world.clock)
        world.clock.advance(DEFAULTS.retention - timedelta(hours=1))
        [new] = many(world, 1)
        world.clock.advance(timedelta(hours=1))
        found = whole_list(world, 1)
        assert [job.id for job in found] == [new.id, old.id]


def many(world: World, count: int) -> list[Job]:
    """New jobs of the owner, oldest first, one second apart."""
    jobs = []
    for n in range(count):
        world.clock.advance(1)
        jobs.append(world.submit({"prompt": f"fox {n}"}).job)
    return jobs


def whole_list(world: World, limit: int) -> list[Job]:
    """All of the owner's jobs, read page by page."""
    found, cursor = page(world, limit)
    while cursor is not None:
        more, cursor = page(world, limit, cursor)
        found += more
    return found


class TestMetadata:
    def submitted(self, world: World, **metadata: str) -> Job:
        world.clock.advance(1)
        return world.submit({"prompt": "a red fox", "metadata": metadata}).job

    def test_a_page_has_the_jobs_with_all_pairs(self) -> None:
        world = World()
        first = self.submitted(world, album="a", year="1")
        self.submitted(world, album="b", year="1")
        self.submitted(world)
        last = self.submitted(world, album="a")
        assert page(world, album="a") == ([last, first], None)
        assert page(world, album="a", year="1") == ([first], None)
        assert page(world, album="A") == page(world, alb="a") == ([], None)
        assert page(world, status=Status.RUNNING, album="a") == ([], None)

    def test_pages_continue_after_the_last_match(self) -> None:
        world = World()
        jobs = [self.submitted(world, album="ab"[n % 2]) for n in range(10)]
        found, cursor = page(world, 2, album="a")
        seen = [*found]
        while cursor:
            found, cursor = page(world, 2, cursor, album="a")
            seen += found
        assert seen == jobs[8::-2]

    def test_a_call_searches_so_many_jobs_and_answers_an_empty_page(self) -> None:
        world = World()
        oldest = self.submitted(world, album="a")
        for _ in range(MAX_SEARCHED_JOBS):
            world.clock.advance(1)
            world.store.add(replace(oldest, id=random_job_id(NOW), queued_at=world.clock()))
        process = Process(10**9, answered=False)
        store = process.using(world.store)
        asked = ListFilter(metadata={"album": "a"})
        here = {"asked": asked, "limit": 5, "store": store, "clock": world.clock}
        found, cursor = read_page(world.owner, cursor=None, **here)  # type: ignore[arg-type]
        assert (found, process.calls) == ([], MAX_SEARCHED_JOBS // SEARCHED_AT_ONCE)
        assert cursor is not None
        records, cursor = read_page(world.owner, cursor=cursor, **here)  # type: ignore[arg-type]
        assert ([record.job for record in records], cursor) == ([oldest], None)
