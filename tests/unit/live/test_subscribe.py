"""Subscribing: the answer is the snapshot, and no change falls between it and the next push."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from comfyline.adapters.memory.live import InMemorySockets
from comfyline.contract.ids import ConnectionId, JobId, KeyId
from comfyline.contract.limits import MAX_SUBSCRIPTIONS
from comfyline.service.errors import ConnectionGone, JobNotFound, TooManySubscriptions
from comfyline.service.jobs import events as ev
from comfyline.service.jobs.job import Job
from comfyline.service.live.delivery import CONNECT_GRACE
from comfyline.service.live.sockets import CONNECTION_LIFETIME, Connection
from comfyline.service.live.subscribe import GREETING_PAUSES_SECONDS, WATCH_STEP
from tests.support.builders import NOW, FrozenClock, a_result, an_artifact, an_owner
from tests.support.happenings import at, claim, interrupt, start, succeed
from tests.unit.live.world import FollowedWorld, states


def test_the_answer_is_a_snapshot(world: FollowedWorld) -> None:
    socket, job = world.socket(), world.queued()
    world.subscriptions.subscribe(socket, job.id)
    (snapshot,) = world.received()
    assert (snapshot["type"], snapshot["version"], snapshot["snapshot"]) == ("status", 1, True)


def test_the_answer_for_an_ended_job_has_its_files_and_its_end(world: FollowedWorld) -> None:
    socket, job = world.socket(), world.queued()
    world.store.put_result(replace(job, attempt=1), a_result(an_artifact(job)))
    world.happens(job, claim, start, succeed)
    world.subscriptions.subscribe(socket, job.id)
    assert [m["type"] for m in world.received()] == ["status", "artifact", "done"]
    assert world.connections.subscribers(job.id, world.clock()) == []


@pytest.mark.parametrize("moment", ["get", "watch"])
def test_a_change_at_any_moment_of_subscribing_is_received(
    world: FollowedWorld, moment: str
) -> None:
    """The job ends right after the given call of the subscription."""
    job, socket = world.queued(), world.socket()
    world.happens(job, claim, start)
    world.stream.clear()
    original = getattr(world.store, moment)

    def then_the_job_ends(*args: Any) -> Any:
        answer = original(*args)
        setattr(world.store, moment, original)
        world.happens(job, succeed)
        world.push()
        return answer

    setattr(world.store, moment, then_the_job_ends)
    world.subscriptions.subscribe(socket, job.id)
    world.push()
    assert "done" in [m["type"] for m in world.received(socket)]


def test_resuming_sends_the_missed_states(world: FollowedWorld) -> None:
    socket, job = world.socket(), world.queued()
    world.happens(job, claim, start, at(0.4), interrupt, claim, start, at(0.2))
    world.subscriptions.subscribe(socket, job.id, after=4)
    messages = world.received()
    assert states(messages) == [
        ("status", "queued", 5),
        ("status", "queued", 6),
        ("status", "running", 7),
        ("status", "running", 8),
    ]
    assert [m.get("reason") for m in messages] == ["interrupted", "claimed", None, None]
    assert [m.get("snapshot") for m in messages] == [None, None, None, True]
    assert messages[-1]["progress"] == 0.2


def test_a_missed_cancel_request_is_sent_as_canceling_and_keeps_the_progress(
    world: FollowedWorld,
) -> None:
    socket, job = world.socket(), world.queued()
    world.happens(job, claim, start, at(0.4), ev.CancelRequested(), at(0.5))
    world.subscriptions.subscribe(socket, job.id, after=4)
    messages = world.received()
    assert states(messages) == [("status", "canceling", 5), ("status", "canceling", 6)]
    assert all(m["progress"] >= 0.4 for m in messages)


def test_resuming_with_nothing_missed_sends_only_the_snapshot(world: FollowedWorld) -> None:
    socket, job = world.socket(), world.queued()
    world.subscriptions.subscribe(socket, job.id, after=1)
    assert states(world.received()) == [("status", "queued", 1)]


def watched_until(world: FollowedWorld, job: Job) -> datetime:
    row = world.store.get(job.id)
    assert row is not None
    assert row.watched_until is not None
    return row.watched_until


def test_a_further_subscriber_does_not_change_the_row(world: FollowedWorld) -> None:
    job, rows = world.queued(), []
    for n in range(3):
        world.clock.advance(timedelta(seconds=1))
        world.subscriptions.subscribe(world.socket(f"c{n}"), job.id)
        rows.append(world.store.get(job.id))
    assert rows == [rows[0]] * 3
    rounding = watched_until(world, job) - world.clock() - CONNECTION_LIFETIME
    assert timedelta(0) <= rounding < WATCH_STEP


def test_a_job_is_watched_as_long_as_any_connection_lasts(world: FollowedWorld) -> None:
    job = world.queued()
    for n in range(5):
        world.subscriptions.subscribe(world.socket(f"c{n}"), job.id)
        assert watched_until(world, job) >= world.clock() + CONNECTION_LIFETIME
        world.clock.advance(timedelta(minutes=17))


def test_more_subscriptions_than_the_limit_are_refused(world: FollowedWorld) -> None:
    socket = world.socket()
    for _ in range(MAX_SUBSCRIPTIONS):
        world.subscriptions.subscribe(socket, world.queued().id)
    with pytest.raises(TooManySubscriptions, match=str(MAX_SUBSCRIPTIONS)):
        world.subscriptions.subscribe(socket, world.queued().id)


def test_a_job_of_another_owner_is_not_found(world: FollowedWorld) -> None:
    socket, job = world.socket(owner=an_owner()), world.queued()
    for unknown in (job.id, JobId("job_" + "0" * 26)):
        with pytest.raises(JobNotFound):
            world.subscriptions.subscribe(socket, unknown)
    assert world.connections.subscribers(job.id, world.clock()) == []


def test_a_job_past_its_start_deadline_is_expired(world: FollowedWorld) -> None:
    socket, job = world.socket(), world.queued(start_deadline=NOW + timedelta(seconds=1))
    world.clock.advance(2)
    world.subscriptions.subscribe(socket, job.id)
    assert states(world.received()) == [("status", "expired", 2), ("done", "expired", 2)]


# --- a socket that is still being opened ----------------------------------------------------------


class Opening(InMemorySockets):
    """Sockets that cannot receive anything before `opens_at`."""

    def __init__(self, clock: FrozenClock, opens_at: datetime) -> None:
        super().__init__()
        self._clock, self._opens_at = clock, opens_at

    def post(self, connection_id: ConnectionId, message: bytes) -> None:
        if self._clock() < self._opens_at:
            raise ConnectionGone(connection_id)
        super().post(connection_id, message)


def test_a_greeting_waits_until_the_socket_is_open_and_misses_nothing(world: FollowedWorld) -> None:
    world.sockets = Opening(world.clock, NOW + timedelta(seconds=3))
    socket, job = world.socket(), world.queued()
    world.connections.subscribe(
        Connection(socket, world.owner, KeyId("k"), NOW + CONNECTION_LIFETIME),
        job.id,
        since=NOW,
        limit=9,
    )
    world.store.watch(job.id, NOW + CONNECTION_LIFETIME)
    world.happens(job, claim)
    world.push()  # the gateway answers "gone", but the subscription is too young to be deleted
    assert world.connections.subscribers(job.id, NOW)
    world.subscriptions.greet(socket, job.id)
    world.happens(job, start)
    world.push()
    assert states(world.received()) == [("status", "queued", 2), ("status", "running", 3)]


def test_a_greeting_gives_up_on_a_socket_that_never_opens(world: FollowedWorld) -> None:
    socket, job = world.socket(), world.queued()
    world.sockets.gone.add(socket)
    with pytest.raises(ConnectionGone):
        world.subscriptions.greet(socket, job.id)
    assert (world.clock() - NOW).total_seconds() == pytest.approx(sum(GREETING_PAUSES_SECONDS))
    assert sum(GREETING_PAUSES_SECONDS) < CONNECT_GRACE.total_seconds()


@pytest.mark.parametrize("leaves_after", [0, 1])
def test_a_greeting_ends_at_once_when_the_client_has_left(
    world: FollowedWorld, leaves_after: int
) -> None:
    """`$disconnect` deletes the socket's row: before the greeting, or during its first pause."""
    socket, job = world.socket(), world.queued()
    world.sockets.gone.add(socket)
    tries = 0

    def get(socket: ConnectionId) -> Connection | None:
        nonlocal tries
        if tries == 2 * leaves_after:  # a try that fails reads the row twice
            world.connections.close(socket)
        tries += 1
        return original(socket)

    original = world.connections.get
    world.connections.get = get  # type: ignore[method-assign]
    with pytest.raises(ConnectionGone):
        world.subscriptions.greet(socket, job.id)
    waited = (world.clock() - NOW).total_seconds()
    assert waited == pytest.approx(sum(GREETING_PAUSES_SECONDS[:leaves_after]))
