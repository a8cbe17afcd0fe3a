"""Following jobs over HTTP, where the socket is missing, silent or lost; by both clients."""

from __future__ import annotations

import json
import threading
from typing import Any

import httpx
import pytest
from websockets.sync.server import ServerConnection

from comfyline.client import (
    JobMessage,
    NotFound,
    Pace,
    TransportFailed,
)
from comfyline.contract.v1.socket import (
    StatusMessage,
)
from tests.support.eventually import WITHIN
from tests.unit.client.conftest import Follow
from tests.unit.client.fakes import (
    JOB,
    QUICK,
    RUNNING,
    Service,
    artifact,
    done,
    job_view,
    live,
    order,
    problem,
    snapshot,
    status,
    succeeded,
)

pytestmark = pytest.mark.enable_socket

QUEUED = {"event": "interrupted", "status": "queued", "attempt": 1}


def test_without_a_socket_url_jobs_are_polled(follow: Follow) -> None:
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


def test_jobs_are_polled_while_no_socket_can_be_opened(follow: Follow) -> None:
    with live([]) as server:
        url = server.url  # nothing listens there after this block
    service = Service(RUNNING, RUNNING, succeeded())
    assert order(follow(service, url))[-1] == ("done", 9, 1)


def test_each_new_place_in_the_queue_is_a_message(follow: Follow) -> None:
    places = [job_view("queued", 1, queue_position=n) for n in (3, 3, 2)]
    messages = follow(Service(*places, succeeded()), None)
    places_shown = [m.queue_position for m in messages if isinstance(m, StatusMessage)]
    assert places_shown == [3, 2, None]


def test_missed_states_come_from_the_history(follow: Follow) -> None:
    missed = [status(4, "queued", reason="interrupted"), status(5, "queued", reason="claimed")]
    history = {"job_id": JOB, "events": [], "messages": [*missed, status(6, attempt=2)]}
    second = job_view("running", 6, attempt=2)
    service = Service(job_view("running", 2), second, history, succeeded(version=7))
    assert _states(follow(service, None)) == [
        (2, "running", None),
        (4, "queued", "interrupted"),
        (5, "queued", "claimed"),
        (6, "running", None),
        (7, "succeeded", None),
    ]
    assert service.requests[2].url.path.endswith("/events")
    assert service.requests[2].url.params["after"] == "2"


@pytest.mark.parametrize(
    "history",
    [
        {"job_id": JOB, "events": [{"version": 4, "at": "2026-01-02T03:04:05Z", **QUEUED}]},
        lambda request: problem(404, "job_not_found", "There is no job."),
    ],
    ids=["an older service without messages", "a service without history"],
)
def test_without_missed_messages_there_is_the_present_state(follow: Follow, history: Any) -> None:
    second = job_view("running", 6, attempt=2)
    service = Service(job_view("running", 2), second, history, second, succeeded(version=7))
    messages = follow(service, None)
    assert _states(messages) == [
        (2, "running", None),
        (6, "running", None),
        (7, "succeeded", None),
    ]
    assert order(messages)[-1] == ("done", 7, 1)


def _states(messages: list[JobMessage]) -> list[tuple[int, str, str | None]]:
    return [(m.version, m.status, m.reason) for m in messages if isinstance(m, StatusMessage)]


@pytest.mark.parametrize(
    "pace",
    [Pace(place_seconds=0.05, backoff=QUICK), Pace(queue_seconds=0.05, backoff=QUICK)],
    ids=["the first time", "whichever is sooner"],
)
def test_while_a_job_waits_its_place_is_read_over_http(follow: Follow, pace: Pace) -> None:
    read = threading.Event()

    def answer(request: httpx.Request) -> httpx.Response:
        read.set()
        return httpx.Response(200, json=job_view("queued", 1, queue_position=2))

    def waiting(socket: ServerConnection) -> None:
        socket.recv(timeout=WITHIN)
        socket.send(json.dumps(snapshot(1, "queued")))
        assert read.wait(WITHIN)
        socket.send(json.dumps(done(2)))

    with live(waiting) as server:
        messages = follow(Service(answer), server.url, pace)
        assert len(server.heard) == 1
    assert order(messages) == [("status", 1, 0), ("status", 1, 0), ("done", 2, 1)]
    places = [m.queue_position for m in messages if isinstance(m, StatusMessage)]
    assert places == [None, 2]


def test_jobs_on_a_silent_socket_are_read_over_http(follow: Follow) -> None:
    def silent(socket: ServerConnection) -> None:
        socket.recv(timeout=WITHIN)
        socket.recv(timeout=WITHIN)  # until the client has left

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


def test_a_silent_socket_is_kept_if_the_read_brings_nothing_new(follow: Follow) -> None:
    polled = threading.Event()

    def answer(request: httpx.Request) -> httpx.Response:
        polled.set()
        return httpx.Response(200, json=RUNNING)

    def slow(socket: ServerConnection) -> None:
        socket.recv(timeout=WITHIN)
        socket.send(json.dumps(snapshot(1)))
        assert polled.wait(WITHIN)
        socket.send(json.dumps(done(2)))

    pace = Pace(silence_seconds=0.05, backoff=QUICK)
    with live(slow) as server:
        messages = follow(Service(answer), server.url, pace)
        assert len(server.heard) == 1
    assert order(messages) == [("status", 1, 0), ("done", 2, 1)]


def test_jobs_are_read_over_http_after_a_connection_that_brought_nothing(follow: Follow) -> None:
    with live([snapshot(1)], [], [snapshot(4), done(5)]) as server:
        messages = follow(Service(job_view(version=3)), server.url)
    assert order(messages) == [
        ("status", 1, 0),
        ("progress", 3, 0),
        ("status", 4, 0),
        ("done", 5, 1),
    ]


def test_after_a_refused_handshake_the_error_of_http_is_raised(follow: Follow) -> None:
    # No WebSocket server answers, and HTTP gives the reason.
    service = Service(problem(404, "job_not_found", "There is no job."))
    with pytest.raises(NotFound):
        follow(service, "ws://127.0.0.1:9/live")


def test_a_short_outage_is_bridged_and_a_long_one_is_raised(follow: Follow) -> None:
    down = httpx.ConnectError("down")
    service = Service(RUNNING, *[down] * 10, succeeded())
    assert order(follow(service, None))[-1] == ("done", 9, 1)
    with pytest.raises(TransportFailed, match="down"):
        follow(Service(down), None, Pace(poll_seconds=0.01, outage_seconds=0))
