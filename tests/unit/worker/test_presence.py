"""A worker is reported as up while it runs, and not afterwards."""

from __future__ import annotations

from datetime import timedelta

from comfyline.adapters.memory.fleet import InMemoryPresenceStore
from comfyline.contract.ids import random_worker_id
from comfyline.service.errors import Unavailable
from comfyline.service.fleet.workers import Presence
from gpu_worker.presence import reported_presence
from tests.support.builders import NOW, FrozenClock
from tests.support.eventually import eventually

OFTEN = timedelta(milliseconds=5)


class Faulty(InMemoryPresenceStore):
    """Unreachable the first time."""

    def __init__(self) -> None:
        super().__init__()
        self.tries = 0

    def put(self, presence: Presence) -> None:
        self.tries += 1
        if self.tries == 1:
            raise Unavailable("throttled")
        super().put(presence)


async def test_a_worker_is_active_while_the_block_lasts_and_not_afterwards() -> None:
    presence, worker, running = InMemoryPresenceStore(), random_worker_id(), [0]
    async with reported_presence(presence, worker, lambda: running[0], FrozenClock(), every=OFTEN):
        await eventually(lambda: presence.active(NOW))
        running[0] = 1
        await eventually(lambda: presence.active(NOW)[0].running_jobs == 1)
        assert presence.active(NOW) == [Presence(worker, 1, NOW + 3 * OFTEN)]
    assert presence.active(NOW) == []


async def test_a_failed_report_is_followed_by_another() -> None:
    presence = Faulty()
    worker = random_worker_id()
    async with reported_presence(presence, worker, lambda: 0, FrozenClock(), every=OFTEN):
        await eventually(lambda: presence.active(NOW))
    assert presence.tries >= 3


async def test_the_first_report_comes_before_the_block_and_says_why_no_job_is_taken() -> None:
    presence, reason = InMemoryPresenceStore(), [None, "the disk is full"]
    async with reported_presence(
        presence, random_worker_id(), lambda: 0, FrozenClock(), lambda: reason[0], every=OFTEN
    ):
        assert [report.unhealthy for report in presence.active(NOW)] == [None]
        reason.reverse()
        await eventually(lambda: presence.active(NOW)[0].unhealthy == "the disk is full")
