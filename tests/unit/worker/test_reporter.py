"""Reports are coalesced, the start comes first, and every answer is handed on."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from comfyline.adapters.memory.jobs import InMemoryJobStore
from comfyline.service.errors import LeaseLost, Unavailable
from comfyline.service.jobs.job import Job, Status
from comfyline.service.jobs.progress import Progress
from gpu_worker import reporter as module
from gpu_worker.racing import background
from gpu_worker.reporter import TIME_TO_SUBSCRIBE, Reporter
from tests.support.builders import NOW, FrozenClock, a_job, an_artifact, claimed
from tests.support.eventually import WITHIN, eventually


class CountingStore(InMemoryJobStore):
    """Counts its saves and fails the next `failures` of them."""

    saves = 0
    failures = 0

    def save(self, before: Job, after: Job) -> Job:
        if self.failures:
            self.failures -= 1
            raise Unavailable("throttled")
        self.saves += 1
        return super().save(before, after)


@pytest.fixture
def store() -> CountingStore:
    return CountingStore()


@pytest.fixture
def job(store: CountingStore) -> Job:
    job = claimed(a_job())
    store.add(job)
    return job


def a_reporter(
    job: Job,
    store: CountingStore,
    rows: list[Job] | None = None,
    unwatched: timedelta = timedelta(seconds=5),
) -> Reporter:
    received = [] if rows is None else rows
    clock = FrozenClock()
    return Reporter(job, store, clock, on_row=received.append, unwatched=unwatched)


def current(store: CountingStore, job: Job) -> Job:
    found = store.get(job.id)
    assert found is not None
    return found


async def test_the_start_is_written_at_once(store: CountingStore, job: Job) -> None:
    reporter = a_reporter(job, store)
    async with background(reporter.write_for_ever()):
        reporter.started()
        await eventually(lambda: current(store, job).status is Status.RUNNING)


async def test_progress_that_comes_fast_is_one_write_of_the_latest(
    store: CountingStore, job: Job
) -> None:
    reporter = a_reporter(job, store, unwatched=timedelta(milliseconds=20))
    async with background(reporter.write_for_ever()):
        reporter.started()
        for step in range(1, 101):
            reporter.progressed(Progress(fraction=step / 200))
        await eventually(lambda: current(store, job).progress.fraction == 0.5)
    assert store.saves == 2


async def test_a_write_that_fails_is_made_later(store: CountingStore, job: Job) -> None:
    store.failures = 2
    reporter = a_reporter(job, store, unwatched=timedelta(milliseconds=2))
    async with background(reporter.write_for_ever()):
        reporter.started()
        reporter.progressed(Progress(fraction=0.25))
        await eventually(lambda: current(store, job).progress.fraction == 0.25)
    assert current(store, job).status is Status.RUNNING


async def test_every_answer_is_handed_on(store: CountingStore, job: Job) -> None:
    store.save(job, replace(job, cancel_requested_at=NOW, version=job.version + 1))
    rows: list[Job] = []
    reporter = a_reporter(job, store, rows)
    async with background(reporter.write_for_ever()):
        reporter.started()
        await eventually(lambda: rows)
    assert rows[0].is_canceling


async def test_a_lost_lease_ends_the_writing(store: CountingStore, job: Job) -> None:
    store.save(job, replace(job, lease=None, version=job.version + 1))
    reporter = a_reporter(job, store)
    reporter.started()
    with pytest.raises(LeaseLost):
        await asyncio.wait_for(reporter.write_for_ever(), WITHIN)


async def test_an_older_answer_does_not_replace_a_newer(store: CountingStore, job: Job) -> None:
    reporter = a_reporter(job, store)
    newer = replace(job, version=job.version + 1)
    reporter.received(newer)
    reporter.received(job)
    assert reporter.job == newer


async def test_nothing_is_written_while_the_attempt_ends(store: CountingStore, job: Job) -> None:
    reporter = a_reporter(job, store)
    async with background(reporter.write_for_ever()), reporter.paused() as last:
        assert last == job
        reporter.started()
        await asyncio.sleep(0.01)
        assert store.saves == 0


async def test_files_are_announced_only_while_watched(store: CountingStore, job: Job) -> None:
    reporter = a_reporter(job, store)
    files = [an_artifact(job, n) for n in range(2)]
    async with background(reporter.write_for_ever()):
        reporter.started()
        reporter.stored(files)
        await eventually(lambda: current(store, job).status is Status.RUNNING)
        reporter.received(watched := store.watch(job.id, NOW + timedelta(hours=1)) or job)
        assert watched.stored == 0
        reporter.stored(files)
        await eventually(lambda: current(store, job).stored == 2)
    record = store.read(job.id)
    assert record is not None
    assert record.artifacts == tuple(files)


async def test_a_preview_is_written_with_the_progress_or_by_itself(
    store: CountingStore, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WATCHED_INTERVAL", timedelta(milliseconds=2))
    reporter = a_reporter(job, store, unwatched=timedelta(milliseconds=2))
    half = Progress(fraction=0.5)
    async with background(reporter.write_for_ever()):
        reporter.started()
        await eventually(lambda: current(store, job).status is Status.RUNNING)
        reporter.progressed(half)
        reporter.previewed(1)
        await eventually(lambda: current(store, job).previewed == 1)
        assert (current(store, job).progress, store.saves) == (half, 2)
        reporter.previewed(2)
        await eventually(lambda: current(store, job).previewed == 2)
        assert (current(store, job).progress, store.saves) == (half, 3)


@pytest.mark.parametrize(
    ("waited", "saves"),
    [(timedelta(0), 2), (TIME_TO_SUBSCRIBE, 1)],
    ids=["posted just now", "waited"],
)
async def test_only_a_job_that_was_posted_just_now_is_written_soon_after_its_start(
    store: CountingStore, monkeypatch: pytest.MonkeyPatch, waited: timedelta, saves: int
) -> None:
    monkeypatch.setattr(module, "WATCHED_INTERVAL", timedelta(milliseconds=2))
    store.add(job := claimed(a_job(queued_at=NOW - waited)))
    reporter = a_reporter(job, store, unwatched=timedelta(hours=1))
    async with background(reporter.write_for_ever()):
        reporter.started()
        await eventually(lambda: current(store, job).status is Status.RUNNING)
        reporter.progressed(Progress(fraction=0.5))
        await asyncio.sleep(0.05)
        reporter.progressed(Progress(fraction=0.75))  # nobody has subscribed
        await asyncio.sleep(0.05)
    assert store.saves == saves


async def test_a_job_that_waited_is_written_often_to_its_subscriber(
    store: CountingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WATCHED_INTERVAL", timedelta(milliseconds=2))
    store.add(job := claimed(a_job(queued_at=NOW - TIME_TO_SUBSCRIBE)))
    store.watch(job.id, NOW + timedelta(hours=1))
    reporter = a_reporter(job, store, unwatched=timedelta(hours=1))
    async with background(reporter.write_for_ever()):
        reporter.started()
        for fraction in (0.25, 0.5, 0.75):
            reporter.progressed(progress := Progress(fraction=fraction))
            await eventually(lambda: current(store, job).progress == progress)
