"""What every PresenceStore does."""

from __future__ import annotations

from datetime import timedelta

from comfyline.contract.ids import random_worker_id
from comfyline.service.fleet.workers import Presence, PresenceStore
from tests.support.builders import NOW

MINUTE = timedelta(minutes=1)


def test_the_last_report_counts_until_it_expires(presence_store: PresenceStore) -> None:
    assert presence_store.active(NOW) == []
    busy, idle = random_worker_id(), random_worker_id()
    presence_store.put(Presence(busy, 0, NOW + MINUTE))
    presence_store.put(Presence(busy, 1, NOW + 2 * MINUTE))
    presence_store.put(Presence(idle, 0, NOW + MINUTE))
    assert {report.worker_id: report.running_jobs for report in presence_store.active(NOW)} == {
        busy: 1,
        idle: 0,
    }
    assert presence_store.active(NOW + MINUTE) == [Presence(busy, 1, NOW + 2 * MINUTE)]


def test_a_worker_that_reports_its_end_is_no_longer_active(presence_store: PresenceStore) -> None:
    worker = random_worker_id()
    presence_store.put(Presence(worker, 1, NOW + MINUTE))
    presence_store.put(Presence(worker, 0, NOW))
    assert presence_store.active(NOW) == []


def test_an_unhealthy_worker_is_active_and_says_why(presence_store: PresenceStore) -> None:
    worker = random_worker_id()
    presence_store.put(Presence(worker, 0, NOW + MINUTE, "the disk is full"))
    assert presence_store.active(NOW) == [Presence(worker, 0, NOW + MINUTE, "the disk is full")]
    presence_store.put(Presence(worker, 0, NOW + MINUTE))
    assert presence_store.active(NOW) == [Presence(worker, 0, NOW + MINUTE)]
