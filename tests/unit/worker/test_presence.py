"""A worker is reported as up while it runs, and not afterwards."""

from __future__ import annotations

from datetime import timedelta

from comfyline.adapters.memory.fleet import InMemoryAttendance
from comfyline.contract.ids import random_worker_id
from comfyline.service.errors import Unavailable
from comfyline.service.fleet.workers import Presence
from gpu_worker.presence import present
from tests.support.builders import NOW, FrozenClock
from tests.support.eventually import eventually

OFTEN = timedelta(milliseconds=5)


class Faulty(InMemoryAttendance):
    """Unreachable the first time."""

    def __init__(self) -> None:
        super().__init__()
        self.tries = 0

    def note(self, presence: Presence) -> None:
        self.tries += 1
        if self.tries == 1:
            raise Unavailable("throttled")
        super().note(presence)


async def test_a_worker_is_present_while_the_block_lasts_and_gone_right_after() -> None:
    attendance, worker, running = InMemoryAttendance(), random_worker_id(), [0]
    async with present(attendance, worker, lambda: running[0], FrozenClock(), OFTEN):
        await eventually(lambda: attendance.present(NOW))
        running[0] = 1
        await eventually(lambda: attendance.present(NOW)[0].running == 1)
        assert attendance.present(NOW) == [Presence(worker, 1, NOW + 3 * OFTEN)]
    assert attendance.present(NOW) == []


async def test_a_failed_report_is_followed_by_another() -> None:
    attendance = Faulty()
    async with present(attendance, random_worker_id(), lambda: 0, FrozenClock(), OFTEN):
        await eventually(lambda: attendance.present(NOW))
    assert attendance.tries >= 3
