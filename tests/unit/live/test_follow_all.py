"""A socket that follows all jobs of its owner is sent their changes, and no other owner's."""

from __future__ import annotations

from datetime import timedelta

import pytest

from comfyline.contract.ids import ConnectionId
from comfyline.contract.limits import MAX_FOLLOWED_JOBS
from comfyline.service.errors import ConnectionGone
from comfyline.service.live.sockets import CONNECTION_LIFETIME, OWNER_MARK_LAG, jobs_of
from tests.support.builders import an_owner
from tests.support.happenings import at, claim, start, succeed
from tests.unit.live.world import FollowedWorld, states


def test_the_answer_is_the_state_of_each_job_that_has_not_ended(world: FollowedWorld) -> None:
    running, ended, queued = world.queued(), world.queued(), world.queued()
    world.happens(running, claim, start, at(0.4))
    world.happens(ended, claim, start, succeed)
    world.subscriptions.subscribe_to_all(world.socket())
    messages = world.received()
    assert {m["job_id"]: m["status"] for m in messages} == {
        running.id: "running",
        queued.id: "queued",
    }
    assert all(m["snapshot"] for m in messages)


def test_the_changes_of_marked_jobs_arrive_until_the_socket_unsubscribes(
    world: FollowedWorld,
) -> None:
    first, second = world.queued(), world.queued()
    socket = world.socket()
    world.subscriptions.subscribe_to_all(socket)
    world.received()
    for job in (first, second):
        world.stream.clear()
        world.happens(job, claim, start, succeed)
        world.push()
    ends = [m["job_id"] for m in world.received() if m["type"] == "done"]
    assert ends == [first.id, second.id]
    third = world.queued(owner_watched_until=world.clock() + CONNECTION_LIFETIME)
    world.stream.clear()
    world.subscriptions.unsubscribe_from_all(socket)
    world.happens(third, claim)
    world.push()
    assert world.received() == []


def test_a_job_that_is_posted_later_carries_the_mark_of_its_owner(world: FollowedWorld) -> None:
    world.subscriptions.subscribe_to_all(world.socket())
    until = world.keys.owner_watched_until(world.owner)
    assert until is not None
    assert until >= world.clock() + CONNECTION_LIFETIME
    job = world.queued(owner_watched_until=until)
    world.stream.clear()
    world.happens(job, claim)
    world.push()
    assert states(world.received()) == [("status", "queued", 2)]


def test_progress_arrives_in_steps(world: FollowedWorld) -> None:
    job = world.queued()
    world.subscriptions.subscribe_to_all(world.socket())
    world.happens(job, claim, start)
    world.stream.clear()
    world.received()
    for fraction in (0.051, 0.06, 0.07, 0.11):
        world.happens(job, at(fraction))
        world.push()
    assert [m["progress"] for m in world.received()] == [0.051, 0.11]


def test_a_socket_that_also_follows_the_job_is_sent_each_message_once(
    world: FollowedWorld,
) -> None:
    job, socket = world.queued(), world.socket()
    world.subscriptions.subscribe_to_all(socket)
    world.subscriptions.subscribe(socket, job.id)
    world.received()
    world.stream.clear()
    world.happens(job, claim, start, succeed)
    world.push()
    assert [m["type"] for m in world.received()].count("done") == 1
    assert world.connections.subscribers(jobs_of(world.owner), world.clock()) != []


def test_another_owner_is_sent_nothing(world: FollowedWorld) -> None:
    job = world.queued()
    stranger = world.socket("stranger", owner=an_owner())
    world.subscriptions.subscribe_to_all(stranger)
    world.subscriptions.subscribe_to_all(world.socket())
    world.stream.clear()
    world.happens(job, claim, start, succeed)
    world.push()
    assert world.received("stranger") == []
    assert "done" in [m["type"] for m in world.received()]


def test_jobs_beyond_the_newest_ones_are_not_marked(world: FollowedWorld) -> None:
    jobs = []
    for _ in range(MAX_FOLLOWED_JOBS + 2):
        world.clock.advance(1)
        jobs.append(world.queued())
    world.subscriptions.subscribe_to_all(world.socket())
    assert len(world.received()) == MAX_FOLLOWED_JOBS
    marks = [world.store.get(job.id).owner_watched_until for job in jobs]  # type: ignore[union-attr]
    assert [mark is not None for mark in marks] == [False] * 2 + [True] * MAX_FOLLOWED_JOBS


def test_a_job_that_was_posted_without_the_mark_is_found_by_subscribing_again(
    world: FollowedWorld,
) -> None:
    """The authorizer's cached answer may be older than the subscription."""
    socket = world.socket()
    world.subscriptions.subscribe_to_all(socket)
    job = world.queued()
    world.clock.advance(OWNER_MARK_LAG / timedelta(seconds=1))
    world.subscriptions.subscribe_to_all(socket)
    assert [m["job_id"] for m in world.received()] == [job.id]


def test_a_closed_socket_cannot_follow(world: FollowedWorld) -> None:
    with pytest.raises(ConnectionGone):
        world.subscriptions.subscribe_to_all(ConnectionId("closed"))
