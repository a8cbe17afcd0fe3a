"""Following jobs: each message once and in order, whatever the socket does; both clients alike."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.sync.server import ServerConnection

from comfyline.client import (
    JobMessage,
    NotFound,
    Pace,
    SubscriptionRefused,
    TransportFailed,
    WaitTimedOut,
)
from comfyline.client.order import Sieve, messages_of
from comfyline.client.stream import IDLE_LIMIT_SECONDS
from comfyline.contract.v1 import responses
from comfyline.contract.v1.socket import (
    ArtifactMessage,
    DoneMessage,
    ProgressMessage,
    StatusMessage,
    server_message,
)
from tests.unit.client.fakes import (
    JOB,
    KEY,
    PACE,
    QUICK,
    Service,
    artifact,
    done,
    job_view,
    live,
    order,
    problem,
    progress,
    snapshot,
    status,
    succeeded,
)

pytestmark = pytest.mark.enable_socket

RUNNING = job_view("running", version=1)
OTHER = "job_" + "0" * 26

Follow = Callable[..., list[JobMessage]]


@pytest.fixture(params=["blocking", "asyncio"])
def follow(request: pytest.FixtureRequest) -> Follow:
    """What `events` yields, by either client."""

    def blocking(
        service: Service,
        url: str | None,
        pace: Pace = PACE,
        timeout: float = 20,
        jobs: Any = (JOB,),
    ) -> list[JobMessage]:
        with service.client(url, pace) as client:
            return list(client.events(jobs, timeout))

    async def collected(
        service: Service,
        url: str | None,
        pace: Pace = PACE,
        timeout: float = 20,
        jobs: Any = (JOB,),
    ) -> list[JobMessage]:
        async with service.async_client(url, pace) as client:
            return [message async for message in client.events(jobs, timeout)]

    def in_a_loop(*args: Any, **options: Any) -> list[JobMessage]:
        return asyncio.run(collected(*args, **options))

    return blocking if request.param == "blocking" else in_a_loop


def test_subscribes_with_the_key_and_yields_until_done(follow: Follow) -> None:
    with live([snapshot(1), progress(2), status(3, "succeeded"), done(3), done(3)]) as server:
        messages = follow(Service(RUNNING), server.url)
    assert order(messages) == [
        ("status", 1, 0),
        ("progress", 2, 0),
        ("status", 3, 0),
        ("done", 3, 1),
    ]
    assert server.heard == [[{"action": "subscribe", "job_id": JOB}]]
    assert server.keys == [f"Bearer {KEY}"]


def test_drops_what_is_not_newer_and_what_is_of_another_job(follow: Follow) -> None:
    other = {**status(8), "job_id": OTHER}
    sent = [snapshot(5), status(4), status(5), other, {"type": "pong"}, {"type": "new"}, done(6)]
    with live(sent) as server:
        messages = follow(Service(RUNNING), server.url)
    assert order(messages) == [("status", 5, 0), ("done", 6, 1)]


def test_resumes_after_a_lost_connection_without_a_gap_or_a_repetition(follow: Follow) -> None:
    again = [status(3, "queued"), snapshot(4), progress(5), done(6)]
    with live([snapshot(1), progress(2)], again) as server:
        messages = follow(Service(job_view(version=9)), server.url)
    assert [m.version for m in messages] == [1, 2, 3, 4, 5, 6]
    assert server.heard[1] == [{"action": "subscribe", "job_id": JOB, "after": 2}]


def test_what_is_live_does_not_overtake_what_was_missed(follow: Follow) -> None:
    """The service pushes as soon as it has the subscription, and answers a little later."""
    again = [status(5), status(3, "queued"), progress(6), status(4), snapshot(6), done(7)]
    with live([snapshot(1), progress(2)], again) as server:
        messages = follow(Service(RUNNING), server.url)
    assert [m.version for m in messages] == [1, 2, 3, 4, 5, 6, 7]


def test_an_answer_that_was_cut_off_is_asked_again(follow: Follow) -> None:
    with live([snapshot(1)], [status(3), status(5)], [status(2), snapshot(5), done(6)]) as server:
        messages = follow(Service(job_view(version=1)), server.url)
    assert [m.version for m in messages] == [1, 2, 5, 6]


def test_several_jobs_share_one_socket(follow: Follow) -> None:
    def script(socket: ServerConnection) -> None:
        asked = [server.receive(socket) for _ in range(2)]
        assert {each["job_id"] for each in asked} == {JOB, OTHER}
        for message in (snapshot(1), {**snapshot(4), "job_id": OTHER}, done(2)):
            socket.send(json.dumps(message))
        socket.send(json.dumps({**done(5, "failed"), "job_id": OTHER}))

    with live(script) as server:
        messages = follow(Service(RUNNING), server.url, jobs=[JOB, OTHER])
        assert len(server.heard) == 1
    told = [(m.job_id == JOB, m.type, m.version) for m in messages]
    assert told == [
        (True, "status", 1),
        (False, "status", 4),
        (True, "done", 2),
        (False, "done", 5),
    ]


def test_a_socket_that_brings_nothing_is_made_up_for_over_http(follow: Follow) -> None:
    with live([snapshot(1)], [], [snapshot(4), done(5)]) as server:
        messages = follow(Service(job_view(version=3)), server.url)
    assert order(messages) == [
        ("status", 1, 0),
        ("progress", 3, 0),
        ("status", 4, 0),
        ("done", 5, 1),
    ]


def test_states_missed_over_http_are_told_from_the_history(follow: Follow) -> None:
    def event(version: int, name: str, state: str, attempt: int) -> dict[str, Any]:
        at = "2026-01-02T03:04:05Z"
        told = {"version": version, "at": at, "event": name}
        return {**told, "status": state, "attempt": attempt}

    changes = [event(4, "interrupted", "queued", 1), event(5, "claimed", "queued", 2)]
    history = {"job_id": JOB, "events": [*changes, event(6, "started", "running", 2)]}
    second = job_view("running", 6, attempt=2)
    service = Service(job_view("running", 2), second, history, succeeded(version=7))
    messages = follow(service, None)
    told = [(m.version, m.status, m.reason) for m in messages if isinstance(m, StatusMessage)]
    assert told == [
        (2, "running", None),
        (4, "queued", "interrupted"),
        (5, "queued", "claimed"),
        (6, "running", None),
        (7, "succeeded", None),
    ]
    assert service.requests[2].url.path.endswith("/events")
    assert service.requests[2].url.params["after"] == "2"


def test_a_place_in_the_queue_is_told_each_time_it_changes(follow: Follow) -> None:
    places = [job_view("queued", 1, queue_position=n) for n in (3, 3, 2)]
    messages = follow(Service(*places, succeeded()), None)
    told = [m.queue_position for m in messages if isinstance(m, StatusMessage)]
    assert told == [3, 2, None]


@pytest.mark.parametrize(
    "pace",
    [Pace(place_seconds=0.05, backoff=QUICK), Pace(queue_seconds=0.05, backoff=QUICK)],
    ids=["the first time", "whichever is sooner"],
)
def test_while_a_job_waits_its_place_is_looked_at(follow: Follow, pace: Pace) -> None:
    looked = threading.Event()

    def answer(request: httpx.Request) -> httpx.Response:
        looked.set()
        return httpx.Response(200, json=job_view("queued", 1, queue_position=2))

    def waiting(socket: ServerConnection) -> None:
        socket.recv(timeout=10)
        socket.send(json.dumps(snapshot(1, "queued")))
        assert looked.wait(10)
        socket.send(json.dumps(done(2)))

    with live(waiting) as server:
        messages = follow(Service(answer), server.url, pace)
        assert len(server.heard) == 1
    assert order(messages) == [("status", 1, 0), ("status", 1, 0), ("done", 2, 1)]
    places = [m.queue_position for m in messages if isinstance(m, StatusMessage)]
    assert places == [None, 2]


SENT = [
    status(1, "queued"),
    status(2, "running"),
    progress(3),
    status(4, "queued"),
    status(5, "running"),
    progress(6),
    status(7, "succeeded"),
    done(7),
]


@given(st.integers())
def test_whatever_is_repeated_or_overtaken_each_is_told_once_in_order(seed: int) -> None:
    """Connections break anywhere; each answers with what was missed, live ones mixed into it."""
    chance, sieve, told = random.Random(seed), Sieve(JOB), []
    while not sieve.ended:
        sieve.subscribed()
        since = sieve.version
        now = chance.randint(max(since, 1), 7)  # the row's version
        missed = [m for m in SENT[:-1] if since < m["version"] < now and m["type"] == "status"]
        (at,) = [m for m in SENT if m["version"] == now and m["type"] != "done"]
        answer = [*missed, {**snapshot(now, at.get("status", "running"))}]
        answer += [SENT[-1]] if now == 7 else []
        pushed = [m for m in SENT if m["version"] > now]
        merged = _merged(chance, answer, pushed)
        cut = chance.randint(0, len(merged))
        for message in merged[:cut]:
            told += sieve.take(server_message.validate_python(message))  # type: ignore[arg-type]
        sieve.unsubscribed()
    numbers = [(m.version, m.part) for m in told]
    assert numbers == sorted(set(numbers))
    states = {m["version"] for m in SENT if m["type"] == "status"} - {1}
    assert states - {m.version for m in told} <= {v for v in states if v < told[0].version}
    assert [m.type for m in told].count("done") == 1


def test_a_file_is_told_once_however_often_it_is_announced() -> None:
    def file(version: int, number: int, attempt: int = 1) -> ArtifactMessage:
        return ArtifactMessage(
            job_id=JOB,
            version=version,
            part=number + 1,
            number=number,
            url="https://files.example/1",
            name="a.png",
            kind="image",
            node="7",
            attempt=attempt,
        )

    sieve = Sieve(JOB)
    first = sieve.take(file(4, 0))
    after_reconnect = [*sieve.take(file(5, 0)), *sieve.take(file(5, 1))]
    next_attempt = sieve.take(file(9, 0, attempt=2))
    told = [(m.version, m.part) for m in [*first, *after_reconnect, *next_attempt]]
    assert told == [(4, 1), (5, 2), (9, 1)]


def _merged(chance: random.Random, one: list[Any], other: list[Any]) -> list[Any]:
    merged, one, other = [], list(one), list(other)
    while one or other:
        take_one = one and (not other or chance.random() < 0.5)
        merged.append((one if take_one else other).pop(0))
    return merged


def test_a_silent_socket_is_checked_over_http(follow: Follow) -> None:
    def silent(socket: ServerConnection) -> None:
        socket.recv(timeout=10)
        socket.recv(timeout=10)  # until the client has left

    pace = Pace(silence_seconds=0.05, backoff=QUICK, close_seconds=0.5)
    service = Service(RUNNING, succeeded(artifact()))
    with live(silent) as server:
        messages = follow(service, server.url, pace)
    assert order(messages) == [
        ("status", 1, 0),
        ("status", 9, 0),
        ("artifact", 9, 1),
        ("done", 9, 2),
    ]


def test_a_quiet_but_sound_socket_is_kept(follow: Follow) -> None:
    polled = threading.Event()

    def answer(request: httpx.Request) -> httpx.Response:
        polled.set()
        return httpx.Response(200, json=RUNNING)

    def slow(socket: ServerConnection) -> None:
        socket.recv(timeout=10)
        socket.send(json.dumps(snapshot(1)))
        assert polled.wait(10)
        socket.send(json.dumps(done(2)))

    pace = Pace(silence_seconds=0.05, backoff=QUICK)
    with live(slow) as server:
        messages = follow(Service(answer), server.url, pace)
        assert len(server.heard) == 1
    assert order(messages) == [("status", 1, 0), ("done", 2, 1)]


def test_pings_before_the_gateway_would_hang_up(follow: Follow) -> None:
    def until_pinged(socket: ServerConnection) -> None:
        server.receive(socket)
        socket.send(json.dumps(snapshot(1)))
        server.receive(socket)
        socket.send(json.dumps({"type": "pong"}))
        socket.send(json.dumps(done(2)))

    with live(until_pinged) as server:
        follow(Service(RUNNING), server.url, Pace(ping_seconds=0.05))
    assert server.heard[0][1] == {"action": "ping"}
    assert Pace().ping_seconds + Pace().silence_seconds < 9 * 60 < IDLE_LIMIT_SECONDS


def test_without_sockets_it_polls(follow: Follow) -> None:
    service = Service(
        job_view("queued", version=1),
        job_view("running", version=2),
        job_view("running", version=2),
        job_view("running", version=3),
        succeeded(artifact("a.png"), artifact("b.png")),
    )
    assert order(follow(service, None)) == [
        ("status", 1, 0),
        ("status", 2, 0),
        ("progress", 3, 0),
        ("status", 9, 0),
        ("artifact", 9, 1),
        ("artifact", 9, 2),
        ("done", 9, 3),
    ]


def test_when_no_socket_can_be_opened_it_polls(follow: Follow) -> None:
    with live([]) as server:
        url = server.url  # whose port is closed by the time it is used
    service = Service(RUNNING, RUNNING, succeeded())
    assert order(follow(service, url))[-1] == ("done", 9, 1)


def test_polls_make_the_messages_that_the_service_makes() -> None:
    ended = responses.JobView.model_validate(
        job_view("failed", 7, error={"type": "node_error", "message": "no", "node_id": "3"})
    )
    first, last = messages_of(ended, news=True)
    assert (first.type, last.type, last.version, last.part) == ("status", "done", 7, 1)
    assert isinstance(last, DoneMessage)
    assert last.status == "failed"
    assert last.error is not None
    assert last.error.node_id == "3"
    (told,) = messages_of(responses.JobView.model_validate(RUNNING), news=False)
    assert isinstance(told, ProgressMessage)
    assert (told.node_type, told.step, told.steps, told.progress) == ("KSampler", 8, 20, 0.42)


def test_an_error_of_the_server_is_raised(follow: Follow) -> None:
    refusal = {"type": "error", "code": "job_not_found", "message": "There is no such job."}
    with live([refusal]) as server, pytest.raises(SubscriptionRefused, match="no such job") as told:
        follow(Service(RUNNING), server.url)
    assert told.value.code == "job_not_found"


@pytest.mark.parametrize(
    "trouble",
    [
        {"type": "error", "code": "unavailable", "message": "later", "job_id": JOB},
        {"message": "Internal server error", "connectionId": "c", "requestId": "r"},
    ],
)
def test_trouble_of_the_service_is_tried_again(follow: Follow, trouble: dict[str, Any]) -> None:
    with live([trouble], [snapshot(2), done(3)]) as server:
        messages = follow(Service(RUNNING), server.url)
    assert [m.version for m in messages] == [1, 2, 3]


def test_a_refused_handshake_is_for_http_to_explain(follow: Follow) -> None:
    # No WebSocket answers at all; the HTTP side knows why.
    service = Service(problem(404, "job_not_found", "There is no job."))
    with pytest.raises(NotFound):
        follow(service, "ws://127.0.0.1:9/live")


def test_a_short_outage_is_borne_and_a_long_one_is_not(follow: Follow) -> None:
    down = httpx.ConnectError("down")
    service = Service(RUNNING, *[down] * 10, succeeded())
    assert order(follow(service, None))[-1] == ("done", 9, 1)
    with pytest.raises(TransportFailed, match="down"):
        follow(Service(down), None, Pace(poll_seconds=0.01, outage_seconds=0))


@pytest.mark.parametrize("with_socket", [True, False])
def test_a_wait_ends_in_time(follow: Follow, with_socket: bool) -> None:
    def stay(socket: ServerConnection) -> None:
        socket.recv(timeout=10)
        socket.send(json.dumps(snapshot(1)))
        socket.recv(timeout=10)

    began = time.monotonic()
    with live(stay) as server, pytest.raises(TimeoutError) as told:
        follow(Service(RUNNING), server.url if with_socket else None, timeout=0.2)
    assert isinstance(told.value, WaitTimedOut)
    assert time.monotonic() - began < 5
