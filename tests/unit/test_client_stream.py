"""Following a job: each message once and in order, whatever the socket does."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import httpx
import pytest
from websockets.sync.server import ServerConnection

from comfyline import wire
from comfyline.client import (
    NotFound,
    Pace,
    SubscriptionRefused,
    TransportFailed,
    WaitTimedOut,
)
from comfyline.client.stream import IDLE_LIMIT_SECONDS, messages_of
from tests.unit.client_fakes import (
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
    status,
    succeeded,
)

pytestmark = pytest.mark.enable_socket

RUNNING = job_view("running", version=1)


def follow(service: Service, url: str | None, pace: Pace = PACE, timeout: float = 20) -> Any:
    with service.client(url, pace) as client:
        return list(client.job(JOB).events(timeout))


def test_subscribes_with_the_key_and_yields_until_done() -> None:
    with live([status(1), progress(2), status(3, "succeeded"), done(3), done(3)]) as server:
        messages = follow(Service(RUNNING), server.url)
    assert order(messages) == [
        ("status", 1, 0),
        ("progress", 2, 0),
        ("status", 3, 0),
        ("done", 3, 1),
    ]
    assert server.heard == [[{"action": "subscribe", "job_id": JOB}]]
    assert server.keys == [f"Bearer {KEY}"]


def test_drops_what_is_not_newer_and_what_is_of_another_job() -> None:
    other = {**status(8), "job_id": "job_" + "0" * 26}
    sent = [status(5), status(4), status(5), other, {"type": "pong"}, {"type": "new"}, done(6)]
    with live(sent) as server:
        messages = follow(Service(RUNNING), server.url)
    assert order(messages) == [("status", 5, 0), ("done", 6, 1)]


def test_resumes_after_a_lost_connection_without_a_gap_or_a_repetition() -> None:
    again = [status(4), progress(5), done(6)]
    with live([status(1), progress(2)], again) as server:
        messages = follow(Service(job_view(version=2)), server.url)
    assert [m.version for m in messages] == [1, 2, 4, 5, 6]
    assert server.heard[1] == [{"action": "subscribe", "job_id": JOB, "after": 2}]


def test_a_poll_between_connections_fits_into_the_order() -> None:
    with live([status(1)], [progress(2), progress(4), done(5)]) as server:
        messages = follow(Service(job_view(version=3)), server.url)
    assert order(messages) == [
        ("status", 1, 0),
        ("progress", 3, 0),
        ("progress", 4, 0),
        ("done", 5, 1),
    ]


def test_a_silent_socket_is_checked_over_http() -> None:
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


def test_a_quiet_but_sound_socket_is_kept() -> None:
    polled = threading.Event()

    def answer(request: httpx.Request) -> httpx.Response:
        polled.set()
        return httpx.Response(200, json=RUNNING)

    def slow(socket: ServerConnection) -> None:
        socket.recv(timeout=10)
        socket.send(json.dumps(status(1)))
        assert polled.wait(10)
        socket.send(json.dumps(done(2)))

    pace = Pace(silence_seconds=0.05, backoff=QUICK)
    with live(slow) as server:
        messages = follow(Service(answer), server.url, pace)
        assert len(server.heard) == 1
    assert order(messages) == [("status", 1, 0), ("done", 2, 1)]


def test_pings_before_the_gateway_would_hang_up() -> None:
    def until_pinged(socket: ServerConnection) -> None:
        server.receive(socket)
        socket.send(json.dumps(status(1)))
        server.receive(socket)
        socket.send(json.dumps({"type": "pong"}))
        socket.send(json.dumps(done(2)))

    with live(until_pinged) as server:
        follow(Service(RUNNING), server.url, Pace(ping_seconds=0.05))
    assert server.heard[0][1] == {"action": "ping"}
    assert Pace().ping_seconds + Pace().silence_seconds < 9 * 60 < IDLE_LIMIT_SECONDS


def test_without_sockets_it_polls() -> None:
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


def test_when_no_socket_can_be_opened_it_polls() -> None:
    with live([]) as server:
        url = server.url  # whose port is closed by the time it is used
    service = Service(RUNNING, RUNNING, succeeded())
    assert order(follow(service, url))[-1] == ("done", 9, 1)


def test_polls_make_the_messages_that_the_service_makes() -> None:
    ended = wire.JobView.model_validate(
        job_view("failed", 7, error={"type": "node_error", "message": "no", "node_id": "3"})
    )
    first, last = messages_of(ended, news=True)
    assert (first.type, last.type, last.version, last.part) == ("status", "done", 7, 1)
    assert isinstance(last, wire.DoneMessage)
    assert last.status == "failed"
    assert last.error is not None
    assert last.error.node_id == "3"
    (told,) = messages_of(wire.JobView.model_validate(RUNNING), news=False)
    assert isinstance(told, wire.ProgressMessage)
    assert (told.node_type, told.step, told.steps, told.progress) == ("KSampler", 8, 20, 0.42)


def test_an_error_of_the_server_is_raised() -> None:
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
def test_trouble_of_the_service_is_tried_again(trouble: dict[str, Any]) -> None:
    with live([trouble], [status(2), done(3)]) as server:
        messages = follow(Service(RUNNING), server.url)
    assert [m.version for m in messages] == [1, 2, 3]


def test_a_refused_handshake_is_for_http_to_explain() -> None:
    # No WebSocket answers at all; the HTTP side knows why.
    service = Service(problem(404, "job_not_found", "There is no job."))
    with pytest.raises(NotFound):
        follow(service, "ws://127.0.0.1:9/live")


def test_a_short_outage_is_borne_and_a_long_one_is_not() -> None:
    down = httpx.ConnectError("down")
    service = Service(RUNNING, *[down] * 10, succeeded())
    assert order(follow(service, None))[-1] == ("done", 9, 1)
    with pytest.raises(TransportFailed, match="down"):
        follow(Service(down), None, Pace(poll_seconds=0.01, outage_seconds=0))


@pytest.mark.parametrize("with_socket", [True, False])
def test_a_wait_ends_in_time(with_socket: bool) -> None:
    def stay(socket: ServerConnection) -> None:
        socket.recv(timeout=10)
        socket.send(json.dumps(status(1)))
        socket.recv(timeout=10)

    began = time.monotonic()
    with live(stay) as server, pytest.raises(TimeoutError) as told:
        follow(Service(RUNNING), server.url if with_socket else None, timeout=0.2)
    assert isinstance(told.value, WaitTimedOut)
    assert time.monotonic() - began < 5
