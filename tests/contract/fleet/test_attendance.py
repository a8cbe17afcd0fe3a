"""What every Attendance does."""

from __future__ import annotations

from datetime import timedelta

from comfyline.contract.ids import random_worker_id
from comfyline.service.fleet.workers import Attendance, Presence
from tests.support.builders import NOW

MINUTE = timedelta(minutes=1)


def test_the_last_word_counts_while_it_holds(attendance: Attendance) -> None:
    assert attendance.present(NOW) == []
    busy, idle = random_worker_id(), random_worker_id()
    attendance.note(Presence(busy, 0, NOW + MINUTE))
    attendance.note(Presence(busy, 1, NOW + 2 * MINUTE))
    attendance.note(Presence(idle, 0, NOW + MINUTE))
    assert {p.worker_id: p.running for p in attendance.present(NOW)} == {busy: 1, idle: 0}
    assert attendance.present(NOW + MINUTE) == [Presence(busy, 1, NOW + 2 * MINUTE)]


def test_a_worker_that_leaves_is_gone_at_once(attendance: Attendance) -> None:
    worker = random_worker_id()
    attendance.note(Presence(worker, 1, NOW + MINUTE))
    attendance.note(Presence(worker, 0, NOW))
    assert attendance.present(NOW) == []
