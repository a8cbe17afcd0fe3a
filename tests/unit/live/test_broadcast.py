"""A job with very many subscribers: other functions post to parts of them."""

from __future__ import annotations

import json

import pytest

from comfyline.adapters.aws.live.relay import chunk_of, event_of
from comfyline.contract.ids import ConnectionId, JobId
from comfyline.service.errors import Unavailable
from comfyline.service.jobs.job import Job
from comfyline.service.live.broadcast import AUDIENCE, MAX_CALL_BYTES, Chunk
from comfyline.service.live.delivery import Post
from comfyline.service.live.sockets import Subscriber
from tests.support.builders import NOW
from tests.support.happenings import at, claim, start, succeed
from tests.unit.live.world import FollowedWorld, states

MANY = 2 * AUDIENCE + 1


class Calls:
    """Keeps the chunks, as they arrive at the other functions."""

    def __init__(self, refused: int = 0) -> None:
        self.chunks, self.refused = list[Chunk](), refused

    def send(self, chunk: Chunk) -> None:
        if self.refused:
            self.refused -= 1
            raise Unavailable("throttled")
        self.chunks.append(chunk_of(json.loads(json.dumps(event_of(chunk)))))


def followed(world: FollowedWorld, sockets: int) -> Job:
    job = world.queued()
    for n in range(sockets):
        connection = world.connections.get(world.socket(f"c{n}"))
        assert connection is not None
        world.connections.subscribe(connection, job.id, since=NOW, limit=1)
    job = world.store.watch(job.id, connection.expires_at) or job
    world.stream.clear()
    return job


def deliver(world: FollowedWorld, calls: Calls) -> None:
    for chunk in calls.chunks:
        world.broadcast.post(chunk)


def test_every_subscriber_is_told_the_end_by_one_of_the_functions(world: FollowedWorld) -> None:
    job = followed(world, MANY)
    world.relay = calls = Calls()
    world.happens(job, claim, start, succeed)
    assert world.push() == 0
    # The functions are called side by side, so in any order.
    sizes = sorted(len(chunk.subscribers) for chunk in calls.chunks)
    assert sizes == [1, AUDIENCE, AUDIENCE]
    assert world.sockets.sent == {}
    deliver(world, calls)
    for n in range(MANY):
        assert states(world.received(f"c{n}"))[-1] == ("done", "succeeded", 4)
    assert world.connections.subscribers(job.id, world.clock()) == []


def test_few_subscribers_are_served_at_once(world: FollowedWorld) -> None:
    job = followed(world, AUDIENCE)
    world.relay = calls = Calls()
    world.happens(job, claim)
    assert world.push() == AUDIENCE
    assert calls.chunks == []


def test_functions_that_cannot_be_called_are_called_again(world: FollowedWorld) -> None:
    job = followed(world, MANY)
    world.relay = Calls(refused=1)
    world.happens(job, claim)
    changes = list(world.stream)
    with pytest.raises(Unavailable):
        world.push()
    world.stream.extend(changes)
    world.push()


def test_a_call_has_the_newest_messages_that_fit(world: FollowedWorld) -> None:
    posts = [Post(JobId("job_x"), bytes([n]) * 30_000, must_arrive=True) for n in range(65, 90)]
    subscribers = [Subscriber(ConnectionId(f"c{n}"), NOW) for n in range(MANY)]
    world.relay = calls = Calls()
    world.broadcast.send(Chunk(JobId("job_x"), subscribers, posts, is_end=True))
    kept = calls.chunks[0].posts
    assert kept == posts[-len(kept) :]
    assert MAX_CALL_BYTES - 30_000 < sum(len(post.body) for post in kept) <= MAX_CALL_BYTES


@pytest.mark.parametrize(("sockets", "shown"), [(1, 40), (200, 40), (201, 20), (2_001, 4)])
def test_the_more_subscribers_the_less_often_they_are_shown_progress(
    world: FollowedWorld, sockets: int, shown: int
) -> None:
    job = followed(world, sockets)
    world.relay = Calls()
    world.happens(job, claim, start)
    world.push()
    posts = []
    for n in range(1, 41):
        world.happens(job, at(n / 40))
        world.relay = calls = Calls()
        posts.append(world.push() > 0 or bool(calls.chunks))
    assert sum(posts) == shown
