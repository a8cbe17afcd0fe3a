"""What every PresenceStore does."""

from __future__ import annotations

from datetime import timedelta

from comfyline.adapters.aws.fleet.presence import presence_of
from comfyline.contract.ids import JobId, OwnerId, random_worker_id
from comfyline.service.fleet.workers import (
    HeldJob,
    Presence,
    PresenceStore,
    WorkerFacts,
    WorkerState,
)
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


def test_a_report_keeps_what_the_worker_said(presence_store: PresenceStore) -> None:
    said = [
        Presence(
            random_worker_id(),
            1,
            NOW + MINUTE,
            is_ready=False,
            held_jobs=3,
            claimed_at=NOW,
            waited=timedelta(seconds=90),
            is_retiring=True,
            jobs=(HeldJob(JobId("job_a"), OwnerId("fox")), HeldJob(JobId("job_b"), OwnerId("owl"))),
            checkpoint="sdxl.safetensors",
            facts=WorkerFacts(
                engine_version="1", image="worker:3", gpu="L4", gpu_memory_bytes=24 * 2**30
            ),
        ),
        Presence(random_worker_id(), 0, NOW + MINUTE),
    ]
    for presence in said:
        presence_store.put(presence)
    assert sorted(presence_store.active(NOW), key=lambda p: -p.held_jobs) == said


def test_a_report_is_answered_with_the_wanted_revisions(presence_store: PresenceStore) -> None:
    report = Presence(random_worker_id(), 0, NOW + MINUTE)
    assert presence_store.put(report) == frozenset()
    for wanted in (frozenset({"worker:1", "worker:2"}), frozenset({"worker:2"})):
        presence_store.want(wanted)
        assert presence_store.put(report) == wanted
    assert presence_store.active(NOW) == [report]


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


def test_a_report_of_the_release_before_is_read() -> None:
    worker = random_worker_id()
    row = {
        "pk": {"S": "workers"},
        "sk": {"S": worker},
        "running": {"N": "1"},
        "held": {"N": "1"},
        "ready": {"BOOL": True},
        "until": {"N": "1772443800000"},
        "ttl": {"N": "1772447400"},
    }
    report = presence_of(row)
    assert (report.worker_id, report.state) == (worker, WorkerState.RUNNING)
    assert (report.jobs, report.checkpoint, report.facts) == ((), None, WorkerFacts())
