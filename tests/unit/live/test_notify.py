"""Followers are told each change, whatever becomes of them and of the service."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from comfyline.adapters.memory.files import InMemoryArtifactStore
from comfyline.adapters.memory.jobs import InMemoryJobStore
from comfyline.adapters.memory.live import InMemoryConnectionStore, InMemorySockets
from comfyline.adapters.memory.metrics import InMemoryMetrics
from comfyline.api.v1.messages import ending_messages
from comfyline.api.v1.views import URL_LIFETIME
from comfyline.contract.ids import ConnectionId, JobId, KeyId
from comfyline.contract.limits import MAX_ARTIFACTS_IN_MESSAGE, MAX_MESSAGE_BYTES, MAX_SUBSCRIPTIONS
from comfyline.contract.v1.socket import DoneMessage, ProgressMessage, StatusMessage
from comfyline.service.errors import ConnectionGone, JobNotFound, TooManySubscriptions, Unavailable
from comfyline.service.jobs import events as ev
from comfyline.service.jobs.decide import on_interruption
from comfyline.service.jobs.job import (
    Artifact,
    Job,
    JobError,
    JobParams,
    JobRecord,
    Status,
    preview_key,
)
from comfyline.service.jobs.lifecycle import advance
from comfyline.service.jobs.progress import Progress
from comfyline.service.ledger.count import Change
from comfyline.service.live.follow import GREETING_PAUSES_SECONDS, WATCH_STEP, Follower
from comfyline.service.live.notify import CONNECT_GRACE, MAX_TRIES, Notifier, message_of
from comfyline.service.live.sockets import CONNECTION_LIFETIME, Connection
from comfyline.service.metrics import Metric
from tests.support import builders
from tests.support.builders import NOW, FrozenClock, a_job, an_artifact, an_owner


class Rows(InMemoryJobStore):
    """Remembers each change, as the table's stream would."""

    def __init__(self) -> None:
        super().__init__()
        self.stream: list[Change] = []

    def save(self, before: Job, after: Job) -> Job:
        saved = super().save(before, after)
        self.stream.append((before, saved))
        return saved


@dataclass
class World:
    """One owner's sockets and jobs, and the service between them."""

    clock: FrozenClock = field(default_factory=FrozenClock)
    rows: Rows = field(default_factory=Rows)
    connections: InMemoryConnectionStore = field(default_factory=InMemoryConnectionStore)
    sockets: InMemorySockets = field(default_factory=InMemorySockets)
    metrics: InMemoryMetrics = field(default_factory=InMemoryMetrics)
    executor: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(4))
    owner: Any = field(default_factory=an_owner)

    @property
    def notifier(self) -> Notifier:
        return Notifier(
            jobs=self.rows,
            connections=self.connections,
            artifacts=InMemoryArtifactStore(),
            sockets=self.sockets,
            metrics=self.metrics,
            clock=self.clock,
            executor=self.executor,
            sleep=self.clock.advance,
        )

    @property
    def follower(self) -> Follower:
        return Follower(
            jobs=self.rows,
            connections=self.connections,
            notifier=self.notifier,
            clock=self.clock,
            sleep=self.clock.advance,
        )

    def socket(self, name: str = "c1", owner: Any = None) -> ConnectionId:
        end = self.clock() + CONNECTION_LIFETIME
        one = Connection(ConnectionId(name), owner or self.owner, KeyId("k"), end)
        self.connections.open(one)
        return one.id

    def job(self, **overrides: Any) -> Job:
        job = a_job(owner=self.owner, **overrides)
        assert self.rows.add(job) is None
        return job

    def happens(self, job: Job, *events: Any) -> Job:
        """What workers do: each event is made for the row as it is."""
        current = self.rows.get(job.id)
        for event in events:
            assert current is not None
            made = event(current) if callable(event) else event
            current = self.rows.save(current, advance(current, made, self.clock()))
        assert current is not None
        return current

    def push(self) -> int:
        """The stream brings what has happened since."""
        changes, self.rows.stream = self.rows.stream, []
        return self.notifier.notify(changes) if changes else 0

    def heard(self, socket: str = "c1") -> list[Any]:
        """What the socket was told since the last look."""
        return [json.loads(body) for body in self.sockets.sent.pop(ConnectionId(socket), [])]


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    with made.executor:
        yield made


def claim(job: Job) -> ev.Claimed:
    until = NOW + timedelta(hours=1)
    return ev.Claimed(worker_id=builders.random_worker_id(), lease_expires_at=until)


def start(job: Job) -> ev.Started:
    return ev.Started(attempt=job.attempt)


def at(fraction: float) -> Any:
    progress = Progress(fraction=fraction, step=1, steps=2, node_type="KSampler", message="half")
    return lambda job: ev.Progressed(attempt=job.attempt, progress=progress)


def with_preview(number: int) -> Any:
    """The same progress; so many previews were stored."""
    progress = Progress(fraction=0.5)
    return lambda job: ev.Progressed(attempt=job.attempt, progress=progress, previewed=number)


def stored(world: World, count: int) -> Any:
    """So many files of the attempt are listed, and then announced."""

    def event(job: Job) -> ev.Stored:
        world.rows.put_artifacts(job, [an_artifact(job, n) for n in range(count)])
        return ev.Stored(attempt=job.attempt, count=count)

    return event


def succeed(job: Job) -> ev.Succeeded:
    return ev.Succeeded(attempt=job.attempt)


def interrupt(job: Job) -> ev.Event:
    return on_interruption(job, job.attempt)


def fail_once(job: Job) -> ev.Failed:
    return ev.Failed(attempt=job.attempt, error=JobError(type="oom", message="no memory"))


def told(messages: Sequence[Any]) -> list[tuple[Any, ...]]:
    return [(m["type"], m.get("status", m.get("progress")), m["version"]) for m in messages]


# --- what a change says ---------------------------------------------------------------------------


def test_each_change_of_state_is_a_status_with_its_reason(world: World) -> None:
    job = world.job()
    world.happens(job, claim, start, interrupt, claim, fail_once, claim, start, succeed)
    messages = [message_of(old, new) for old, new in world.rows.stream]
    assert [(m.status, m.reason) for m in messages if isinstance(m, StatusMessage)] == [
        ("queued", "claimed"),
        ("running", None),
        ("queued", "interrupted"),
        ("queued", "claimed"),
        ("queued", "attempt_failed"),
        ("queued", "claimed"),
        ("running", None),
        ("succeeded", None),
    ]
    assert [m.version for m in messages if m] == list(range(2, 10))


def test_a_job_given_back_before_it_started_says_so(world: World) -> None:
    """Neither its status nor its attempt changes then."""
    job = world.job()
    world.happens(job, claim, interrupt)
    message = message_of(*world.rows.stream[-1])
    assert isinstance(message, StatusMessage)
    assert (message.status, message.reason) == ("queued", "interrupted")


def test_progress_says_where_it_is(world: World) -> None:
    world.happens(world.job(), claim, start, at(0.5))
    message = message_of(*world.rows.stream[-1])
    assert isinstance(message, ProgressMessage)
    assert (message.progress, message.step, message.steps) == (0.5, 1, 2)
    assert message.node_type == "KSampler"


def test_what_no_client_sees_says_nothing() -> None:
    job = builders.running(a_job())
    watched = advance(job, ev.Watched(until=NOW), NOW)
    assert message_of(job, watched) is None


# --- previews -------------------------------------------------------------------------------------


def shown(messages: Sequence[Any]) -> list[str | None]:
    """The preview of each progress, or None."""
    return [m.get("preview") for m in messages if m["type"] == "progress"]


def test_a_preview_is_told_when_it_is_new_and_once(world: World) -> None:
    socket, job = world.socket(), world.job(wants_previews=True)
    world.follower.follow(socket, job.id)
    told = []
    for event in (claim, start, at(0.2), with_preview(1), at(0.6), with_preview(2)):
        running = world.happens(job, event)
        world.push()
        told += shown(world.heard())
    url = InMemoryArtifactStore().sign(
        preview_key(running), name="preview", seconds=int(URL_LIFETIME.total_seconds())
    )
    assert told == [None, url, None, url]


def test_one_is_told_with_whichever_progress_comes_after_it(world: World) -> None:
    socket, job = world.socket(), world.job(wants_previews=True)
    world.follower.follow(socket, job.id)
    world.happens(job, claim, start, with_preview(1), at(0.6))
    world.push()
    (url,) = shown(world.heard())
    assert url is not None


@pytest.mark.parametrize("after", [(interrupt,), (interrupt, claim, start, at(0.1))])
def test_one_of_an_attempt_that_is_over_is_not_told(world: World, after: tuple[Any, ...]) -> None:
    socket, job = world.socket(), world.job(wants_previews=True)
    world.follower.follow(socket, job.id)
    world.happens(job, claim, start, with_preview(1), *after)
    world.push()
    assert not any(shown(world.heard()))


# --- files ----------------------------------------------------------------------------------------


def files(messages: Sequence[Any]) -> list[tuple[int, int, int]]:
    """(version, part, number) of each file told."""
    return [(m["version"], m["part"], m["number"]) for m in messages if m["type"] == "artifact"]


def test_each_file_is_told_as_it_is_stored_and_the_end_tells_the_rest(world: World) -> None:
    socket, job = world.socket(), world.job()
    world.follower.follow(socket, job.id)
    for event in (claim, start, stored(world, 1), stored(world, 3)):
        world.happens(job, event)
        world.push()
    assert files(world.heard()) == [(4, 1, 0), (5, 2, 1), (5, 3, 2)]
    ended = world.happens(job)
    world.rows.put_artifacts(ended, [an_artifact(ended, n) for n in range(4)])
    world.happens(job, succeed)
    world.push()
    heard = world.heard()
    assert files(heard) == [(6, 4, 3)]
    assert heard[-1]["type"] == "done"
    assert len(heard[-1]["result"]["artifacts"]) == 4


def test_changes_that_come_together_are_told_in_order(world: World) -> None:
    socket, job = world.socket(), world.job()
    world.follower.follow(socket, job.id)
    world.happens(job, claim, start, stored(world, 1), at(0.9), stored(world, 2), succeed)
    world.push()
    order = [(m["version"], m.get("part", 0)) for m in world.heard()]
    assert order == sorted(set(order))


def test_who_joins_late_is_told_the_files_there_are(world: World) -> None:
    socket, job = world.socket(), world.job()
    world.happens(job, claim, start, stored(world, 2))
    world.follower.follow(socket, job.id)
    assert files(world.heard()) == [(4, 1, 0), (4, 2, 1)]


def test_the_files_of_a_lost_attempt_are_void(world: World) -> None:
    socket, job = world.socket(), world.job()
    world.follower.follow(socket, job.id)
    world.happens(job, claim, start, stored(world, 2), interrupt, claim)
    world.push()
    assert files(world.heard()) == []


def test_the_files_of_a_purged_job_are_not_those_of_the_next_of_its_id(world: World) -> None:
    socket, job = world.socket(), world.job()
    world.follower.follow(socket, job.id)
    purged = world.happens(job, claim, start, stored(world, 3))
    world.rows.delete(purged)
    again = replace(job, queued_at=job.queued_at + timedelta(days=2))
    assert world.rows.add(again) is None
    world.follower.follow(socket, again.id)
    world.happens(again, claim, start, at(0.5), stored(world, 1))
    world.push()  # the changes of both, in one batch
    assert files(world.heard()) == [(5, 1, 0)]


# --- subscriptions --------------------------------------------------------------------------------


def test_the_answer_is_the_snapshot_and_then_each_change_is_told(world: World) -> None:
    socket, job = world.socket(), world.job()
    world.follower.follow(socket, job.id)
    (snapshot,) = world.heard()
    assert (snapshot["type"], snapshot["version"], snapshot["snapshot"]) == ("status", 1, True)
    for event in (claim, start, at(0.3), at(0.6), succeed):
        world.happens(job, event)
        world.push()
    assert told(world.heard()) == [
        ("status", "queued", 2),
        ("status", "running", 3),
        ("progress", 0.3, 4),
        ("progress", 0.6, 5),
        ("status", "succeeded", 6),
        ("done", "succeeded", 6),
    ]
    assert world.connections.subscribers(job.id, world.clock()) == []


def test_a_job_that_has_ended_is_told_with_its_end_at_once(world: World) -> None:
    socket, job = world.socket(), world.job()
    world.rows.put_artifacts(replace(job, attempt=1), [an_artifact(job)])
    world.happens(job, claim, start, succeed)
    world.follower.follow(socket, job.id)
    assert [m["type"] for m in world.heard()] == ["status", "artifact", "done"]
    assert world.connections.subscribers(job.id, world.clock()) == []


def test_a_change_at_any_moment_of_subscribing_is_told(world: World) -> None:
    """The end of a job falls, in turn, after each call that a subscription makes."""
    calls = ("get", "watch")
    for moment in calls:
        job, socket = world.job(), world.socket(f"during-{moment}")
        world.happens(job, claim, start)
        world.rows.stream.clear()
        original = getattr(world.rows, moment)

        def then_it_ends(*args: Any, _call: Any = original, _job: Job = job) -> Any:
            answer = _call(*args)
            setattr(world.rows, moment, _call)  # noqa: B023  # within this round
            world.happens(_job, succeed)
            world.push()
            return answer

        setattr(world.rows, moment, then_it_ends)
        world.follower.follow(socket, job.id)
        world.push()
        assert "done" in [m["type"] for m in world.heard(socket)], moment


def test_resuming_tells_the_states_that_were_missed(world: World) -> None:
    socket, job = world.socket(), world.job()
    world.happens(job, claim, start, at(0.4), interrupt, claim, start, at(0.2))
    world.follower.follow(socket, job.id, after=4)
    messages = world.heard()
    assert told(messages) == [
        ("status", "queued", 5),
        ("status", "queued", 6),
        ("status", "running", 7),
        ("status", "running", 8),
    ]
    assert [m.get("reason") for m in messages] == ["interrupted", "claimed", None, None]
    assert [m.get("snapshot") for m in messages] == [None, None, None, True]
    assert messages[-1]["progress"] == 0.2


def test_a_missed_cancel_is_told_as_canceling_and_sets_progress_not_back(world: World) -> None:
    socket, job = world.socket(), world.job()
    world.happens(job, claim, start, at(0.4), ev.CancelRequested(), at(0.5))
    world.follower.follow(socket, job.id, after=4)
    messages = world.heard()
    assert told(messages) == [("status", "canceling", 5), ("status", "canceling", 6)]
    assert all(m["progress"] >= 0.4 for m in messages)


def test_resuming_with_nothing_missed_is_the_snapshot_alone(world: World) -> None:
    socket, job = world.socket(), world.job()
    world.follower.follow(socket, job.id, after=1)
    assert told(world.heard()) == [("status", "queued", 1)]


def test_one_socket_follows_many_jobs_and_many_follow_one(world: World) -> None:
    jobs, sockets = [world.job() for _ in range(200)], [world.socket(f"c{n}") for n in range(200)]
    for job in jobs:
        world.follower.follow(sockets[0], job.id)
    for socket in sockets:
        world.follower.follow(socket, jobs[0].id)
    world.sockets.sent.clear()
    for job in jobs:
        world.happens(job, claim)
        world.push()
    assert {m["job_id"] for m in world.heard("c0")} == {job.id for job in jobs}
    assert all(told(world.heard(f"c{n}")) == [("status", "queued", 2)] for n in range(1, 200))


def watched_until(world: World, job: Job) -> datetime:
    row = world.rows.get(job.id)
    assert row is not None
    assert row.watched_until is not None
    return row.watched_until


def test_who_joins_others_changes_nothing_that_the_pusher_reads(world: World) -> None:
    job, rows = world.job(), []
    for n in range(3):
        world.clock.advance(timedelta(seconds=1))
        world.follower.follow(world.socket(f"c{n}"), job.id)
        rows.append(world.rows.get(job.id))
    assert rows == [rows[0]] * 3
    spare = watched_until(world, job) - world.clock() - CONNECTION_LIFETIME
    assert timedelta(0) <= spare < WATCH_STEP


def test_a_job_is_watched_as_long_as_any_connection_lasts(world: World) -> None:
    job = world.job()
    for n in range(5):
        world.follower.follow(world.socket(f"c{n}"), job.id)
        assert watched_until(world, job) >= world.clock() + CONNECTION_LIFETIME
        world.clock.advance(timedelta(minutes=17))


def test_the_end_is_told_to_all_before_a_subscription_is_deleted(world: World) -> None:
    names = [ConnectionId(f"c{n}") for n in range(3)]
    heard: list[int] = []

    class Connections(InMemoryConnectionStore):
        def unsubscribe(self, connection_id: ConnectionId, job_id: JobId) -> None:
            heard.append(sum(b'"done"' in world.sockets.sent[name][-1] for name in names))
            super().unsubscribe(connection_id, job_id)

    world.connections = Connections()
    job = world.job()
    for name in names:
        world.follower.follow(world.socket(name), job.id)
    world.happens(job, claim, start, succeed)
    world.push()
    assert heard == [3, 3, 3]
    assert world.connections.subscribers(job.id, world.clock()) == []


def test_more_jobs_than_the_limit_are_refused(world: World) -> None:
    socket = world.socket()
    for _ in range(MAX_SUBSCRIPTIONS):
        world.follower.follow(socket, world.job().id)
    with pytest.raises(TooManySubscriptions, match=str(MAX_SUBSCRIPTIONS)):
        world.follower.follow(socket, world.job().id)


def test_after_unsubscribing_nothing_is_told(world: World) -> None:
    socket, job = world.socket(), world.job()
    world.follower.follow(socket, job.id)
    world.connections.unsubscribe(socket, job.id)
    world.heard()
    world.happens(job, claim)
    assert world.push() == 0
    assert world.heard() == []


def test_anothers_job_is_not_found_and_never_told(world: World) -> None:
    socket, job = world.socket(owner=an_owner()), world.job()
    for unknown in (job.id, JobId("job_" + "0" * 26)):
        with pytest.raises(JobNotFound):
            world.follower.follow(socket, unknown)
    assert world.connections.subscribers(job.id, world.clock()) == []


def test_a_job_past_its_start_deadline_is_told_as_expired(world: World) -> None:
    socket, job = world.socket(), world.job(start_deadline=NOW + timedelta(seconds=1))
    world.clock.advance(2)
    world.follower.follow(socket, job.id)
    assert told(world.heard()) == [("status", "expired", 2), ("done", "expired", 2)]


# --- a socket that is being opened ----------------------------------------------------------------


class Opening(InMemorySockets):
    """Sockets that cannot be posted to for some time."""

    def __init__(self, clock: FrozenClock, opens_at: datetime) -> None:
        super().__init__()
        self._clock, self._opens_at = clock, opens_at

    def post(self, connection_id: ConnectionId, message: bytes) -> None:
        if self._clock() < self._opens_at:
            raise ConnectionGone(connection_id)
        super().post(connection_id, message)


def test_a_greeting_waits_until_the_socket_is_open_and_misses_nothing(world: World) -> None:
    world.sockets = Opening(world.clock, NOW + timedelta(seconds=3))
    socket, job = world.socket(), world.job()
    world.connections.subscribe(
        Connection(socket, world.owner, KeyId("k"), NOW + CONNECTION_LIFETIME),
        job.id,
        since=NOW,
        limit=9,
    )
    world.rows.watch(job.id, NOW + CONNECTION_LIFETIME)
    world.happens(job, claim)
    world.push()  # finds the socket gone, but too young to be given up
    assert world.connections.subscribers(job.id, NOW)
    world.follower.greet(socket, job.id)
    world.happens(job, start)
    world.push()
    assert told(world.heard()) == [("status", "queued", 2), ("status", "running", 3)]


def test_a_greeting_gives_up_on_who_never_comes(world: World) -> None:
    socket, job = world.socket(), world.job()
    world.sockets.gone.add(socket)
    with pytest.raises(ConnectionGone):
        world.follower.greet(socket, job.id)
    assert (world.clock() - NOW).total_seconds() == pytest.approx(sum(GREETING_PAUSES_SECONDS))
    assert sum(GREETING_PAUSES_SECONDS) < CONNECT_GRACE.total_seconds()


# --- clients that are gone or slow ----------------------------------------------------------------


def test_who_is_gone_is_forgotten_and_holds_up_nobody(world: World) -> None:
    job = world.job()
    for name in ("here", "gone"):
        world.follower.follow(world.socket(name), job.id)
    world.sockets.gone.add(ConnectionId("gone"))
    world.clock.advance(CONNECT_GRACE + timedelta(seconds=1))
    world.happens(job, claim)
    world.push()
    assert [s.id for s in world.connections.subscribers(job.id, world.clock())] == ["here"]
    assert world.connections.get(ConnectionId("gone")) is None
    assert world.metrics.sum(Metric.FOLLOWERS_GONE) == 1
    assert world.metrics.sum(Metric.UPDATES_SENT) == 1
    assert told(world.heard("here"))[-1] == ("status", "queued", 2)


def test_a_slow_one_loses_progress_and_is_kept(world: World) -> None:
    socket, job = world.socket(), world.job()
    world.happens(job, claim, start)
    world.rows.stream.clear()
    world.follower.follow(socket, job.id)
    world.heard()
    world.sockets.slow.add(socket)
    world.happens(job, at(0.3))
    world.push()
    world.sockets.slow.clear()
    world.happens(job, at(0.6))
    world.push()
    assert told(world.heard()) == [("progress", 0.6, 5)]
    assert world.sockets.closed == set()


def test_a_slow_one_that_takes_no_state_is_hung_up_on_after_three_tries(world: World) -> None:
    tries = []

    class Slow(InMemorySockets):
        def post(self, connection_id: ConnectionId, message: bytes) -> None:
            if connection_id in self.slow:
                tries.append(connection_id)
            super().post(connection_id, message)

    world.sockets = Slow()
    job = world.job()
    for name in ("quick", "slow"):
        world.follower.follow(world.socket(name), job.id)
    world.sockets.slow.add(ConnectionId("slow"))
    world.happens(job, claim)
    before = world.clock()
    world.push()
    assert len(tries) == MAX_TRIES
    assert world.clock() - before <= timedelta(seconds=2)
    assert world.sockets.closed == {"slow"}
    assert world.metrics.sum(Metric.FOLLOWERS_SLOW) == 1
    assert [s.id for s in world.connections.subscribers(job.id, world.clock())] == ["quick"]
    assert told(world.heard("quick"))[-1] == ("status", "queued", 2)


def test_of_progress_that_comes_late_only_the_latest_is_sent(world: World) -> None:
    socket, job = world.socket(), world.job()
    world.follower.follow(socket, job.id)
    world.heard()
    world.happens(job, claim, start, at(0.2), at(0.4), interrupt, claim, start, at(0.1), at(0.3))
    world.push()
    assert told(world.heard()) == [
        ("status", "queued", 2),
        ("status", "running", 3),
        ("status", "queued", 6),
        ("status", "queued", 7),
        ("status", "running", 8),
        ("progress", 0.3, 10),
    ]


def test_a_service_out_of_reach_is_said_so_that_the_stream_comes_again(world: World) -> None:
    socket, job = world.socket(), world.job()
    world.follower.follow(socket, job.id)
    world.heard()
    world.happens(job, claim)
    changes = list(world.rows.stream)

    class OutOfReach(InMemoryConnectionStore):
        def subscribers(self, job_id: JobId, now: datetime) -> Any:
            raise Unavailable("dynamodb")

    with pytest.raises(Unavailable):
        replace(world.notifier, connections=OutOfReach()).notify(changes)
    world.push()
    assert told(world.heard()) == [("status", "queued", 2)]


def test_a_job_that_nobody_watches_costs_no_call(world: World) -> None:
    class Untouched(InMemoryConnectionStore):
        def subscribers(self, job_id: JobId, now: datetime) -> Any:
            raise AssertionError("asked for the subscribers of an unwatched job")

    world.connections = Untouched()
    world.happens(world.job(), claim, start)
    assert world.push() == 0


# --- sizes ----------------------------------------------------------------------------------------


class LongUrls(InMemoryArtifactStore):
    def sign(self, key: str, *, name: str, seconds: int) -> str:
        return f"https://s3.test/{key}?X-Amz-Security-Token=" + "t" * 4000


def test_done_fits_into_a_frame_whatever_the_urls(world: World) -> None:
    job = builders.succeeded(a_job())
    artifacts: list[Artifact] = [an_artifact(job, n) for n in range(20)]
    record = JobRecord(job, JobParams(params={}), tuple(artifacts))
    messages = ending_messages(record, LongUrls(), NOW)
    done = messages[-1]
    assert isinstance(done, DoneMessage)
    assert done.result is not None
    assert done.result.truncated
    assert 0 < len(done.result.artifacts) <= MAX_ARTIFACTS_IN_MESSAGE
    sizes = [len(m.model_dump_json()) for m in messages]
    assert max(sizes) <= MAX_MESSAGE_BYTES
    assert [m.part for m in messages] == list(range(1, 22))
    assert job.status is Status.SUCCEEDED
