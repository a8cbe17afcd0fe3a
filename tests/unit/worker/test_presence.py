"""A worker is reported as up while it runs, and not afterwards."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from comfyline.adapters.memory.fleet import InMemoryPresenceStore
from comfyline.contract.ids import random_worker_id
from comfyline.service.errors import Unavailable
from comfyline.service.fleet.workers import HeldJob, Presence, WorkerState
from comfyline.service.jobs.store import Work
from gpu_worker.occupancy import Occupancy
from gpu_worker.presence import RETIRE_AFTER, Activity, reported_presence
from tests.support.builders import NOW, FrozenClock, a_job
from tests.support.eventually import eventually

OFTEN = timedelta(milliseconds=5)


class Faulty(InMemoryPresenceStore):
    """Unreachable the first time."""

    def __init__(self) -> None:
        super().__init__()
        self.tries = 0

    def put(self, presence: Presence) -> frozenset[str]:
        self.tries += 1
        if self.tries == 1:
            raise Unavailable("throttled")
        return super().put(presence)


async def test_a_worker_is_active_while_the_block_lasts_and_not_afterwards() -> None:
    presence, worker, running = InMemoryPresenceStore(), random_worker_id(), [0]
    activity = Activity(lambda: running[0])
    async with reported_presence(presence, worker, activity, FrozenClock(), every=OFTEN):
        await eventually(lambda: presence.active(NOW))
        running[0] = 1
        await eventually(lambda: presence.active(NOW)[0].running_jobs == 1)
        assert presence.active(NOW) == [Presence(worker, 1, NOW + 3 * OFTEN, is_ready=False)]
    assert presence.active(NOW) == []


async def test_a_failed_report_is_followed_by_another() -> None:
    presence = Faulty()
    worker = random_worker_id()
    async with reported_presence(presence, worker, Activity(), FrozenClock(), every=OFTEN):
        await eventually(lambda: presence.active(NOW))
    assert presence.tries >= 3


async def test_the_first_report_comes_before_the_block_and_says_why_no_job_is_taken() -> None:
    presence, reason = InMemoryPresenceStore(), [None, "the disk is full"]
    async with reported_presence(
        presence, random_worker_id(), Activity(unhealthy=lambda: reason[0]), FrozenClock(), OFTEN
    ):
        assert [report.unhealthy for report in presence.active(NOW)] == [None]
        reason.reverse()
        await eventually(lambda: presence.active(NOW)[0].unhealthy == "the disk is full")


def test_a_report_says_what_the_worker_holds_and_how_long_jobs_wait() -> None:
    activity, worker, occupancy = Activity(lambda: 1), random_worker_id(), Occupancy()
    assert not activity.report(worker, NOW).is_ready  # it still prepares itself
    activity.begin(occupancy)
    occupancy.enter()
    activity.claimed(a_job(attempt=1, queued_at=NOW - timedelta(seconds=40)), NOW)
    assert activity.report(worker, NOW) == Presence(
        worker, 1, NOW, is_ready=True, held_jobs=1, claimed_at=NOW, waited=timedelta(seconds=40)
    )


def test_a_job_that_was_given_back_says_nothing_about_waits() -> None:
    activity = Activity()
    activity.claimed(a_job(attempt=2, queued_at=NOW - timedelta(hours=1)), NOW)
    assert activity.report(random_worker_id(), NOW).claimed_at is None


def test_a_report_names_the_jobs_and_the_checkpoint_of_the_one_on_the_gpu() -> None:
    activity = Activity()

    def work(checkpoint: str) -> Work:
        return Work(a_job(), {"1": {"class_type": "Loader", "inputs": {"ckpt_name": checkpoint}}})

    def reported() -> tuple[tuple[HeldJob, ...], str | None]:
        report = activity.report(random_worker_id(), NOW)
        return report.jobs, report.checkpoint

    first, second = work("a.safetensors"), work("b.safetensors")
    held = [HeldJob(each.job.id, each.job.owner) for each in (first, second)]
    assert reported() == ((), None)
    with activity.holding(first):
        with activity.holding(second):
            assert reported() == (tuple(held), "a.safetensors")
        assert reported() == (tuple(held[:1]), "a.safetensors")
    assert reported() == ((), "a.safetensors")
    with activity.holding(Work(a_job())):
        assert reported()[1] == "a.safetensors"


def test_a_report_tells_a_worker_that_starts_from_one_that_retires() -> None:
    activity, worker, occupancy = Activity(), random_worker_id(), Occupancy()
    states = [activity.report(worker, NOW).state]
    activity.begin(occupancy)
    states.append(activity.report(worker, NOW).state)
    place = occupancy.enter()
    states.append(activity.report(worker, NOW).state)
    activity.retire()
    states.append(activity.report(worker, NOW).state)
    place.free()
    assert states == [
        WorkerState.STARTING,
        WorkerState.IDLE,
        WorkerState.RUNNING,
        WorkerState.RETIRING,
    ]


class TestRetirement:
    async def reports(
        self, presence: InMemoryPresenceStore, retire: asyncio.Event, revision: str | None
    ) -> int:
        """The number of reports until the worker retires, or 20."""
        counted = Counted(presence)
        async with reported_presence(
            counted,
            random_worker_id(),
            Activity(),
            FrozenClock(),
            timedelta(milliseconds=1),
            revision=revision,
            retire=retire,
        ):
            await eventually(lambda: retire.is_set() or counted.puts >= 20)
        return counted.puts

    async def test_a_worker_of_another_revision_retires_after_some_reports(self) -> None:
        presence, retire = InMemoryPresenceStore(), asyncio.Event()
        presence.want(frozenset({"worker:2"}))
        assert await self.reports(presence, retire, "worker:1") >= RETIRE_AFTER
        assert retire.is_set()

    async def test_an_earlier_revision_may_be_wanted_too(self) -> None:
        presence, retire = InMemoryPresenceStore(), asyncio.Event()
        presence.want(frozenset({"worker:1"}))
        await self.reports(presence, retire, "worker:2")
        assert retire.is_set()

    @pytest.mark.parametrize(
        ("wanted", "revision"),
        [
            ({"worker:1"}, "worker:1"),
            ({"worker:1", "worker:2"}, "worker:1"),  # the deployment is under way
            (set(), "worker:1"),
            ({"worker:2"}, None),
        ],
    )
    async def test_other_workers_stay(self, wanted: set[str], revision: str | None) -> None:
        presence, retire = InMemoryPresenceStore(), asyncio.Event()
        if wanted:
            presence.want(frozenset(wanted))
        await self.reports(presence, retire, revision)
        assert not retire.is_set()


class Counted(InMemoryPresenceStore):
    """Counts the reports, and knows the revisions of another store."""

    def __init__(self, other: InMemoryPresenceStore) -> None:
        super().__init__()
        self.puts = 0
        self._other = other

    def put(self, presence: Presence) -> frozenset[str]:
        self.puts += 1
        return self._other.put(presence)
