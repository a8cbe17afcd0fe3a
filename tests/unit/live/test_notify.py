"""Every subscriber of a job receives its changes, files and previews, in order."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from comfyline.adapters.memory.files import InMemoryArtifactStore
from comfyline.adapters.memory.jobs import InMemoryJobStore
from comfyline.adapters.memory.live import InMemoryConnectionStore
from comfyline.api.v1.results import URL_LIFETIME
from comfyline.contract.ids import ConnectionId, JobId
from comfyline.service.errors import Unavailable
from comfyline.service.jobs import events as ev
from comfyline.service.jobs.artifact_keys import preview_key
from comfyline.service.jobs.job import Job, JobOptions
from tests.support.builders import a_result, an_artifact
from tests.support.happenings import (
    at,
    claim,
    interrupt,
    start,
    succeed,
    succeed_with,
    with_preview,
)
from tests.unit.live.world import FollowedWorld, files, previews, states


def test_a_subscriber_receives_each_change_and_then_the_end(world: FollowedWorld) -> None:
    job = world.subscribed()
    for event in (claim, start, at(0.3), at(0.6), succeed):
        world.happens(job, event)
        world.push()
    assert states(world.received()) == [
        ("status", "queued", 2),
        ("status", "running", 3),
        ("progress", 0.3, 4),
        ("progress", 0.6, 5),
        ("status", "succeeded", 6),
        ("done", "succeeded", 6),
    ]
    assert world.connections.subscribers(job.id, world.clock()) == []


def test_a_socket_may_follow_many_jobs_and_a_job_have_many_sockets(
    world: FollowedWorld,
) -> None:
    jobs, sockets = (
        [world.queued() for _ in range(200)],
        [world.socket(f"c{n}") for n in range(200)],
    )
    for job in jobs:
        world.subscriptions.subscribe(sockets[0], job.id)
    for socket in sockets:
        world.subscriptions.subscribe(socket, jobs[0].id)
    world.sockets.sent.clear()
    world.stream.clear()
    for job in jobs:
        world.happens(job, claim)
        world.push()
    assert {m["job_id"] for m in world.received("c0")} == {job.id for job in jobs}
    expected = [("status", "queued", 2)]
    assert all(states(world.received(f"c{n}")) == expected for n in range(1, 200))


def test_only_the_latest_of_several_progress_messages_is_sent(world: FollowedWorld) -> None:
    job = world.subscribed()
    world.happens(job, claim, start, at(0.2), at(0.4), interrupt, claim, start, at(0.1), at(0.3))
    world.push()
    assert states(world.received()) == [
        ("status", "queued", 2),
        ("status", "running", 3),
        ("status", "queued", 6),
        ("status", "queued", 7),
        ("status", "running", 8),
        ("progress", 0.3, 10),
    ]


def test_all_subscribers_receive_the_end_before_a_subscription_is_deleted(
    world: FollowedWorld,
) -> None:
    names = [ConnectionId(f"c{n}") for n in range(3)]
    done: list[int] = []

    class Connections(InMemoryConnectionStore):
        def unsubscribe(self, connection_id: ConnectionId, job_id: JobId) -> None:
            done.append(sum(b'"done"' in world.sockets.sent[name][-1] for name in names))
            super().unsubscribe(connection_id, job_id)

    world.connections = Connections()
    job = world.queued()
    for name in names:
        world.subscriptions.subscribe(world.socket(name), job.id)
    world.happens(job, claim, start, succeed)
    world.push()
    assert done == [3, 3, 3]
    assert world.connections.subscribers(job.id, world.clock()) == []


def test_after_unsubscribing_nothing_is_received(world: FollowedWorld) -> None:
    job = world.subscribed()
    world.connections.unsubscribe(ConnectionId("c1"), job.id)
    world.happens(job, claim)
    assert world.push() == 0
    assert world.received() == []


def test_an_unavailable_table_is_reported_so_that_the_stream_retries(world: FollowedWorld) -> None:
    job = world.subscribed()
    world.stream.clear()
    world.happens(job, claim)
    changes = list(world.stream)

    class OutOfReach(InMemoryConnectionStore):
        def subscribers(self, job_id: JobId, now: datetime) -> Any:
            raise Unavailable("dynamodb")

    with pytest.raises(Unavailable):
        replace(world.notifier, connections=OutOfReach()).notify(changes)
    world.push()
    assert states(world.received()) == [("status", "queued", 2)]


def test_a_job_without_subscribers_costs_no_call(world: FollowedWorld) -> None:
    class Untouched(InMemoryConnectionStore):
        def subscribers(self, job_id: JobId, now: datetime) -> Any:
            raise AssertionError("asked for the subscribers of an unwatched job")

    world.connections = Untouched()
    world.happens(world.queued(), claim, start)
    assert world.push() == 0


# --- files ----------------------------------------------------------------------------------------


def test_each_file_is_sent_as_it_is_stored_and_the_rest_with_the_end(world: FollowedWorld) -> None:
    job = world.subscribed()
    for event in (claim, start, world.stored(1), world.stored(3)):
        world.happens(job, event)
        world.push()
    assert files(world.received()) == [(4, 1, 0), (5, 2, 1), (5, 3, 2)]
    ended = world.happens(job)
    world.store.put_result(ended, a_result(*(an_artifact(ended, n) for n in range(4))))
    world.happens(job, succeed)
    world.push()
    received = world.received()
    assert files(received) == [(6, 4, 3)]
    assert received[-1]["type"] == "done"
    assert len(received[-1]["result"]["artifacts"]) == 4


def test_the_files_of_a_large_job_are_sent_as_they_are_stored(world: FollowedWorld) -> None:
    job = world.subscribed()
    world.happens(job, claim, start)
    seen: list[int] = []
    for count in range(30, 331, 30):
        world.happens(job, world.stored(count))
        world.push()
        seen += [number for _, _, number in files(world.received())]
    assert seen == list(range(330))
    world.happens(job, succeed)
    world.push()
    done = world.received()[-1]
    assert (done["type"], done["part"], done["result"]["artifacts_total"]) == ("done", 331, 330)
    assert done["result"]["truncated"] is True


def test_of_many_files_of_one_change_the_newest_are_sent(world: FollowedWorld) -> None:
    job = world.subscribed()
    world.happens(job, claim, start, world.stored(5_000))
    world.push()
    assert [number for _, _, number in files(world.received())] == list(range(4_900, 5_000))
    world.subscriptions.subscribe(world.socket("late"), job.id)
    late = files(world.received("late"))
    assert [number for _, _, number in late] == list(range(4_900, 5_000))


def test_the_end_of_a_large_job_sends_its_first_files(world: FollowedWorld) -> None:
    job = world.subscribed()
    running = world.happens(job, claim, start)
    world.store.put_result(running, a_result(*(an_artifact(running, n) for n in range(5_000))))
    world.happens(job, succeed_with(5_000))
    world.push()
    received = world.received()
    assert [number for _, _, number in files(received)] == list(range(100))
    assert (received[-1]["type"], received[-1]["part"]) == ("done", 5_001)
    world.subscriptions.subscribe(world.socket("late"), job.id)
    assert len(files(world.received("late"))) == 100


def test_the_files_of_the_end_cost_no_read_beside_that_of_the_job(world: FollowedWorld) -> None:
    class Records(InMemoryJobStore):
        def read(self, job_id: JobId) -> Any:
            return world.store.read(job_id)

        def artifacts(self, job: Job, numbers: range) -> Any:
            raise AssertionError("read files that the job's record has")

    job = world.subscribed()
    running = world.happens(job, claim, start)
    world.store.put_result(running, a_result(*(an_artifact(running, n) for n in range(3))))
    world.happens(job, succeed_with(3))
    replace(world.notifier, jobs=Records()).notify(world.stream)
    assert [number for _, _, number in files(world.received())] == [0, 1, 2]


def test_the_files_of_a_canceled_job_are_not_sent(world: FollowedWorld) -> None:
    job = world.subscribed()
    world.happens(job, claim, start, world.stored(2), ev.CancelRequested())
    world.happens(job, lambda current: ev.Stopped(attempt=current.attempt))
    world.push()
    received = world.received()
    assert files(received) == []
    assert received[-1]["status"] == "canceled"


def test_changes_of_one_batch_are_sent_in_order(world: FollowedWorld) -> None:
    job = world.subscribed()
    world.happens(job, claim, start, world.stored(1), at(0.9), world.stored(2), succeed)
    world.push()
    order = [(m["version"], m.get("part", 0)) for m in world.received()]
    assert order == sorted(set(order))


def test_a_late_subscriber_receives_the_files_that_are_stored(world: FollowedWorld) -> None:
    job = world.queued()
    world.happens(job, claim, start, world.stored(2))
    world.subscriptions.subscribe(world.socket(), job.id)
    assert files(world.received()) == [(4, 1, 0), (4, 2, 1)]


def test_the_files_of_a_lost_attempt_are_not_sent(world: FollowedWorld) -> None:
    job = world.subscribed()
    world.happens(job, claim, start, world.stored(2), interrupt, claim)
    world.push()
    assert files(world.received()) == []


def test_the_files_of_a_purged_job_are_not_sent_for_the_next_job_of_its_id(
    world: FollowedWorld,
) -> None:
    job = world.subscribed()
    purged = world.happens(job, claim, start, world.stored(3))
    world.store.delete(purged)
    again = replace(job, queued_at=job.queued_at + timedelta(days=2))
    assert world.store.add(again) is None
    world.subscriptions.subscribe(ConnectionId("c1"), again.id)
    world.happens(again, claim, start, at(0.5), world.stored(1))
    world.push()  # the changes of both jobs in one batch
    assert files(world.received()) == [(5, 1, 0)]


# --- previews -------------------------------------------------------------------------------------


def test_a_new_preview_is_sent_once(world: FollowedWorld) -> None:
    job, sent = world.subscribed(options=JobOptions(wants_previews=True)), []
    for event in (claim, start, at(0.2), with_preview(1), at(0.6), with_preview(2)):
        running = world.happens(job, event)
        world.push()
        sent += previews(world.received())
    url = InMemoryArtifactStore().sign(
        preview_key(running), name="preview", seconds=int(URL_LIFETIME.total_seconds())
    )
    assert sent == [None, url, None, url]


def test_a_preview_is_sent_with_the_progress_that_replaces_its_own(world: FollowedWorld) -> None:
    job = world.subscribed(options=JobOptions(wants_previews=True))
    world.happens(job, claim, start, with_preview(1), at(0.6))
    world.push()
    (url,) = previews(world.received())
    assert url is not None


@pytest.mark.parametrize("after", [(interrupt,), (interrupt, claim, start, at(0.1))])
def test_a_preview_of_an_attempt_that_is_over_is_not_sent(
    world: FollowedWorld, after: tuple[Any, ...]
) -> None:
    job = world.subscribed(options=JobOptions(wants_previews=True))
    world.happens(job, claim, start, with_preview(1), *after)
    world.push()
    assert not any(previews(world.received()))
