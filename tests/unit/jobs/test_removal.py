"""The sweeper removes the void files of ended jobs, and whole jobs after their retention."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from io import BytesIO

import pytest

from comfyline.contract.ids import JobId
from comfyline.service.errors import Unavailable
from comfyline.service.jobs.artifact_keys import artifact_key, preview_key
from comfyline.service.jobs.cancel import cancel
from comfyline.service.jobs.due import TIDY_DELAY
from comfyline.service.jobs.finish import EndCanceled, GiveBack
from comfyline.service.jobs.job import Job, Status
from comfyline.service.jobs.store import due_shards, other_quarantines
from tests.support.builders import an_artifact
from tests.support.crashes import Process, every_crash
from tests.support.due_jobs import due_jobs
from tests.support.invariants import check_tidy
from tests.support.ports import meanwhile, raising
from tests.support.world import DEFAULTS, World

MOMENT = timedelta.resolution
MINUTE = timedelta(minutes=1)


def left_due(world: World, job: Job) -> Job:
    """The row of a settled job as earlier code has left it: due for its removal."""
    return world.store.save(job, replace(job, due_at=job.expires_at))


class TestRemoval:
    """The store removes the items of a job by itself, and the bucket its files."""

    def test_needs_no_sweeper(self) -> None:
        world = World()
        world.submit()
        job = world.settle(world.succeeded().id)
        assert job.due_at is None
        world.clock.advance(DEFAULTS.retention)
        assert world.sweep() == {}
        world.store.expire(world.clock())
        assert world.store.read(job.id) is None
        with pytest.raises(LookupError):
            world.store.graph(job)

    def test_of_a_row_of_earlier_code_takes_its_request_and_its_files(self) -> None:
        world = World()
        world.submit(key="once")
        job = left_due(world, world.settle(world.succeeded().id))
        world.clock.advance(DEFAULTS.retention - MOMENT)
        assert world.sweep() == {}
        world.clock.advance(MOMENT)
        assert world.sweep() == {"Removed": 1}
        assert (world.store.read(job.id), world.artifacts.files) == (None, {})
        with pytest.raises(LookupError):
            world.store.graph(job)

    def test_does_not_touch_other_jobs(self) -> None:
        world = World()
        world.submit()
        old = left_due(world, world.settle(world.succeeded().id))
        world.clock.advance(1)
        world.submit({"prompt": "a blue whale"})
        other = world.succeeded()
        world.clock.now = old.queued_at + DEFAULTS.retention
        world.sweep()
        assert world.store.get(old.id) is None
        assert list(world.artifacts.files) == [an_artifact(other).key]
        assert world.store.graph(other)

    def test_a_new_job_that_takes_the_id_meanwhile_keeps_its_files(self) -> None:
        world = World()
        world.submit(key="once")
        old = left_due(world, world.settle(world.succeeded().id))
        world.clock.advance(DEFAULTS.retention)

        def post_and_run_again() -> None:
            world.submit(key="once")
            world.succeeded()

        artifacts = meanwhile(world.artifacts, "delete_prefix", post_and_run_again)
        assert world.sweep(artifacts=artifacts) == {"ChangedMeanwhile": 1}
        assert world.row(old.id).attempt == 2
        assert list(world.artifacts.files) == [an_artifact(world.row(old.id)).key]


def an_attempt_that_lost(world: World) -> Job:
    """An attempt in which the worker stored a file and then gave the job back."""
    world.submit()
    job, ticket = world.started()
    world.upload(job)
    world.finisher().end(job, ticket, GiveBack())
    return job


class TestVoidFiles:
    """Readers are never shown the files of attempts that lost; they are removed after the end."""

    def test_are_removed_once_their_worker_has_surely_stopped(self) -> None:
        world = World()
        lost = an_attempt_that_lost(world)
        job = world.settle(world.succeeded().id)
        world.clock.advance(TIDY_DELAY - MOMENT)
        world.upload(lost)  # by a worker that has not learned yet that it lost
        assert world.sweep() == {}
        world.clock.advance(MOMENT)
        assert world.sweep() == {"Tidied": 1}
        assert list(world.artifacts.files) == [artifact_key(job, 0, "image.png")]
        check_tidy(world.row(job.id), world.artifacts.files)
        assert replace(world.row(job.id), due_at=job.due_at, tidy_pending=True) == job
        assert world.sweep() == {}

    def test_are_removed_with_a_settlement_that_was_missed(self) -> None:
        world = World()
        an_attempt_that_lost(world)
        job = world.succeeded()
        world.clock.advance(TIDY_DELAY)
        assert world.sweep() == {"Settled": 1, "Tidied": 1}
        assert world.row(job.id).due_at is None
        assert world.sweep() == {}

    def test_of_a_canceled_job_are_all_its_files(self) -> None:
        world = World()
        world.submit()
        job, ticket = world.started()
        world.upload(job)
        cancel(job.id, job.owner, store=world.store, clock=world.clock)
        world.finisher().end(world.row(job.id), ticket, EndCanceled())
        world.settle(job.id)
        world.clock.advance(TIDY_DELAY)
        assert world.sweep() == {"Tidied": 1}
        assert world.artifacts.files == {}

    def test_include_previews_but_not_the_artifacts_of_the_job(self) -> None:
        world = World()
        world.submit({"prompt": "a fox", "previews": True})
        job = world.settle(world.succeeded().id)
        world.artifacts.put(preview_key(job), BytesIO(b"picture"), "image/jpeg")
        world.clock.advance(TIDY_DELAY)
        assert world.sweep() == {"Tidied": 1}
        assert list(world.artifacts.files) == [artifact_key(job, 0, "image.png")]
        check_tidy(world.row(job.id), world.artifacts.files)

    def test_a_job_that_was_never_claimed_has_none(self) -> None:
        world = World()
        job = world.submit().job
        cancel(job.id, job.owner, store=world.store, clock=world.clock)
        world.settle(job.id)
        world.clock.advance(TIDY_DELAY)
        assert world.sweep() == {}

    def test_are_removed_by_the_next_sweep_if_s3_is_unavailable(self) -> None:
        world = World()
        an_attempt_that_lost(world)
        world.settle(world.succeeded().id)
        world.clock.advance(TIDY_DELAY)
        artifacts = meanwhile(world.artifacts, "delete_prefix", raising(Unavailable("throttled")))
        assert world.sweep(artifacts=artifacts) == {"Unavailable": 1}
        assert world.sweep() == {"Tidied": 1}

    def test_a_new_job_that_takes_the_id_meanwhile_keeps_its_due_time(self) -> None:
        world = World()
        world.submit(key="once")
        job, ticket = world.started()
        world.finisher().end(job, ticket, GiveBack())
        old = world.succeeded()
        world.clock.advance(TIDY_DELAY)

        def post_again() -> None:
            world.clock.advance(DEFAULTS.retention)
            world.submit(key="once")

        artifacts = meanwhile(world.artifacts, "delete_prefix", post_again)
        world.sweep(artifacts=artifacts)
        row = world.row(old.id)
        assert (row.status, row.queued_at) == (Status.QUEUED, world.clock.now)

    def test_are_removed_by_the_next_sweep_after_a_crash_at_any_call(self) -> None:
        world = World()

        def run(process: Process) -> None:
            nonlocal world
            world = World()
            an_attempt_that_lost(world)
            world.settle(world.succeeded().id)
            world.clock.advance(TIDY_DELAY)
            world.sweep(store=process.using(world.store), artifacts=process.using(world.artifacts))

        crashes = 0
        for _ in every_crash(run):
            crashes += 1
            world.sweep()
            (key,) = world.artifacts.files
            check_tidy(world.row(JobId(key.split("/")[1])), world.artifacts.files)
        shards = [*due_shards(settled=False), *due_shards(settled=True), *other_quarantines()]
        calls = len(shards) + 2
        assert crashes == 2 * calls  # read each shard, delete, note; before and after each


def test_after_a_crash_the_next_sweep_completes_a_removal() -> None:
    worlds: list[World] = []

    def run(process: Process) -> None:
        world = World()
        worlds.append(world)
        world.submit()
        left_due(world, world.settle(world.succeeded().id))
        world.clock.advance(DEFAULTS.retention)
        store, artifacts = process.using(world.store), process.using(world.artifacts)
        world.sweep(store=store, artifacts=artifacts)

    for process in every_crash(run):
        world = worlds[-1]
        # No file is ever left without a row by which it will be found.
        assert ended_due(world) or not world.artifacts.files, process
        world.sweep()
        assert (ended_due(world), world.artifacts.files) == ([], {})
        assert world.ledger.usage(world.owner).jobs == 1


def ended_due(world: World) -> list[Job]:
    now = world.clock()
    return [job for s in (False, True) for job in due_jobs(world.store, now, settled=s)]
