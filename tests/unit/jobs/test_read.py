"""Jobs are shown to their owner, truly by the clock, whether or not the sweeper has come by."""

from __future__ import annotations

from datetime import timedelta

import pytest

from comfyline.contract.ids import JobId, OwnerId, random_job_id
from comfyline.service.errors import JobNotFound
from comfyline.service.jobs.cancel import cancel
from comfyline.service.jobs.finish import GiveBack
from comfyline.service.jobs.job import Job, JobRecord, Status
from comfyline.service.jobs.read import read_job, read_page
from comfyline.service.jobs.store import JobStore
from tests.support.builders import LEASE, NOW, an_artifact, an_owner
from tests.support.crashes import Process
from tests.support.world import DEFAULTS, World, meanwhile

MOMENT = timedelta.resolution


def read(
    world: World, job_id: JobId, owner: OwnerId | None = None, store: JobStore | None = None
) -> JobRecord:
    jobs = store or world.store
    return read_job(job_id, owner or world.owner, store=jobs, clock=world.clock)


def page(
    world: World, limit: int = 20, cursor: str | None = None, status: Status | None = None
) -> tuple[list[Job], str | None]:
    """One page of the world's owner, and the cursor of the next."""
    records, following = read_page(
        world.owner,
        status=status,
        limit=limit,
        cursor=cursor,
        store=world.store,
        clock=world.clock,
    )
    return [record.job for record in records], following


class TestOneJob:
    def test_is_shown_with_what_was_asked_and_made_by_one_call(self) -> None:
        world = World()
        world.submit({"prompt": "a red fox", "metadata": {"for": "mum"}})
        job = world.succeeded()
        process = Process(10**9, answered=False)
        record = read(world, job.id, store=process.using(world.store))
        assert (record.job, process.calls) == (job, 1)
        assert record.params.params["prompt"] == "a red fox"
        assert record.params.metadata == {"for": "mum"}
        assert record.artifacts == (an_artifact(job),)

    def test_that_is_unknown_or_anothers_is_not_found(self) -> None:
        world = World()
        job = world.submit().job
        for job_id, owner in [(random_job_id(NOW), world.owner), (job.id, an_owner())]:
            with pytest.raises(JobNotFound):
                read(world, job_id, owner)

    def test_is_gone_by_the_clock_when_its_retention_is_over(self) -> None:
        world = World()
        world.submit()
        job = world.succeeded()
        world.clock.advance(DEFAULTS.retention - MOMENT)
        assert read(world, job.id).job == job
        world.clock.advance(MOMENT)
        with pytest.raises(JobNotFound):
            read(world, job.id)


class TestStartDeadline:
    def test_a_reader_ends_what_waited_too_long(self) -> None:
        world = World()
        job = world.submit().job
        world.clock.advance(DEFAULTS.start_deadline - MOMENT)
        assert read(world, job.id).job == job
        world.clock.advance(MOMENT)
        shown = read(world, job.id).job
        assert (shown.status, shown.version) == (Status.EXPIRED, job.version + 1)
        assert (shown, shown.finished_at) == (world.row(job.id), world.clock())

    def test_two_readers_end_it_once(self) -> None:
        world = World()
        job = world.submit().job
        world.clock.advance(DEFAULTS.start_deadline)
        store = meanwhile(world.store, "save", lambda: read(world, job.id))
        assert read(world, job.id, store=store).job == world.row(job.id)
        assert world.row(job.id).version == job.version + 1

    def test_a_reader_ends_nothing_that_a_worker_holds(self) -> None:
        world = World()
        world.submit({"prompt": "a red fox", "start_deadline_seconds": 1})
        job, _ = world.claimed()
        world.clock.advance(LEASE / 2)
        assert read(world, job.id).job == job

    def test_nor_what_has_run_before(self) -> None:
        world = World()
        world.submit()
        job, ticket = world.started()
        waiting = world.finisher().end(job, ticket, GiveBack())
        world.clock.advance(DEFAULTS.start_deadline)
        assert read(world, job.id).job == waiting

    def test_a_purge_that_comes_meanwhile_leaves_what_was_read(self) -> None:
        world = World()
        job = world.submit().job
        world.clock.now = job.start_deadline

        def expire_and_purge() -> None:
            ended = read(world, job.id).job
            world.store.delete(ended)

        store = meanwhile(world.store, "save", expire_and_purge)
        assert read(world, job.id, store=store).job == job
        assert world.store.get(job.id) is None

    def test_a_cancel_that_comes_meanwhile_is_what_is_shown(self) -> None:
        world = World()
        job = world.submit().job

        def cancel_a_little_earlier() -> None:
            earlier = world.clock() - MOMENT
            cancel(job.id, world.owner, store=world.store, clock=lambda: earlier)

        world.clock.advance(DEFAULTS.start_deadline)
        store = meanwhile(world.store, "save", cancel_a_little_earlier)
        assert read(world, job.id, store=store).job.status is Status.CANCELED

    def test_a_list_ends_them_too(self) -> None:
        world = World()
        job = world.submit().job
        world.clock.advance(DEFAULTS.start_deadline)
        [shown], _ = page(world)
        assert (shown.status, shown) == (Status.EXPIRED, world.row(job.id))


class TestList:
    def test_is_the_owners_newest_first(self) -> None:
        world = World()
        jobs = many(world, 3)
        world.submit(owner=an_owner())
        assert page(world) == (jobs[::-1], None)

    @pytest.mark.parametrize("limit", [1, 2, 3, 4, 5])
    def test_comes_in_pages_that_neither_overlap_nor_leave_out(self, limit: int) -> None:
        world = World()
        jobs = many(world, 4)
        assert whole_list(world, limit) == jobs[::-1]

    def test_jobs_of_one_moment_are_told_apart(self) -> None:
        world = World()
        ids = {world.submit({"prompt": f"{n}"}).job.id for n in range(5)}
        found = [job.id for job in whole_list(world, 2)]
        assert len(found) == 5
        assert set(found) == ids

    def test_jobs_that_come_between_two_pages_move_nothing(self) -> None:
        world = World()
        jobs = many(world, 4)
        first, cursor = page(world, 2)
        many(world, 3)
        second, _ = page(world, 2, cursor)
        assert first + second == jobs[::-1]

    def test_of_one_status(self) -> None:
        world = World()
        many(world, 1)
        done = world.succeeded()
        [waiting] = many(world, 1)
        assert page(world, status=Status.SUCCEEDED) == ([done], None)
        assert page(world, status=Status.QUEUED) == ([waiting], None)
        assert page(world, status=Status.FAILED) == ([], None)

    def test_what_is_past_its_retention_is_left_out_and_hides_nothing_behind_it(self) -> None:
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
    """Jobs of the world's owner, oldest first, each a second after the other."""
    jobs = []
    for n in range(count):
        world.clock.advance(1)
        jobs.append(world.submit({"prompt": f"fox {n}"}).job)
    return jobs


def whole_list(world: World, limit: int) -> list[Job]:
    """Every job of the world's owner, by as many pages as it takes."""
    found, cursor = page(world, limit)
    while cursor is not None:
        more, cursor = page(world, limit, cursor)
        found += more
    return found
