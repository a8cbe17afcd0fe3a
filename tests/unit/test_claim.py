"""A worker takes a job from a ticket, and does with the ticket what the job's state asks for."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from comfyline.domain.job import Status
from tests.support.world import World

MOMENT = timedelta.resolution


class TestClock:
    @pytest.mark.parametrize("passed", [0, 1, 2, 3, 4])
    def test_a_start_deadline_that_comes_while_claiming(self, passed: int) -> None:
        world = World()
        job = world.submit({"prompt": "a red fox", "start_deadline_seconds": 1}).job
        now = job.start_deadline - passed * MOMENT

        def ticking() -> datetime:
            nonlocal now
            now += MOMENT
            return now

        claimed = world.claim(world.ticket(), clock=ticking)
        after = world.row(job.id)
        assert after.status is (Status.QUEUED if claimed else Status.EXPIRED)
        assert claimed in (None, after)
