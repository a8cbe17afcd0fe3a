"""Following jobs over the live socket, by both clients."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection

from comfyline.client import (
    Pace,
    SubscriptionRefused,
    WaitTimedOut,
)
from comfyline.client.pace import IDLE_LIMIT_SECONDS
from tests.support.eventually import WITHIN
from tests.unit.client.conftest import Follow
from tests.unit.client.fakes import (
    JOB,
    KEY,
    OTHER,
    RUNNING,
    Service,
    done,
    job_view,
    live,
    order,
    progress,
    snapshot,
    status,
)

pytestmark = pytest.mark.enable_socket


def test_events_subscribes_with_the_key_and_yields_until_done(follow: Follow) -> None:
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


def test_old_messages_and_messages_of_other_jobs_are_dropped(follow: Follow) -> None:
    other = {**status(8), "job_id": OTHER}
    sent = [snapshot(5), status(4), status(5), other, {"type": "pong"}, {"type": "new"}, done(6)]
    with live(sent) as server:
        messages = follow(Service(RUNNING), server.url)
    assert order(messages) == [("status", 5, 0), ("done", 6, 1)]


def test_a_lost_connection_resumes_without_gap_or_repetition(follow: Follow) -> None:
    again = [status(3, "queued"), snapshot(4), progress(5), done(6)]
    with live([snapshot(1), progress(2)], again) as server:
        messages = follow(Service(job_view(version=9)), server.url)
    assert [m.version for m in messages] == [1, 2, 3, 4, 5, 6]
    assert server.heard[1] == [{"action": "subscribe", "job_id": JOB, "after": 2}]


def test_live_messages_do_not_overtake_missed_ones(follow: Follow) -> None:
    """The service pushes as soon as it has the subscription, and answers a little later."""
    again = [status(5), status(3, "queued"), progress(6), status(4), snapshot(6), done(7)]
    with live([snapshot(1), progress(2)], again) as server:
        messages = follow(Service(RUNNING), server.url)
    assert [m.version for m in messages] == [1, 2, 3, 4, 5, 6, 7]


def test_an_answer_that_breaks_off_is_requested_again(follow: Follow) -> None:
    with live([snapshot(1)], [status(3), status(5)], [status(2), snapshot(5), done(6)]) as server:
        messages = follow(Service(job_view(version=1)), server.url)
    assert [m.version for m in messages] == [1, 2, 5, 6]


def test_several_jobs_share_one_socket(follow: Follow) -> None:
    def script(socket: ServerConnection) -> None:
        requests = [server.receive(socket) for _ in range(2)]
        assert {request["job_id"] for request in requests} == {JOB, OTHER}
        for message in (snapshot(1), {**snapshot(4), "job_id": OTHER}, done(2)):
            socket.send(json.dumps(message))
        socket.send(json.dumps({**done(5, "failed"), "job_id": OTHER}))

    with live(script) as server:
        messages = follow(Service(RUNNING), server.url, jobs=[JOB, OTHER])
        assert len(server.heard) == 1
    received = [(m.job_id == JOB, m.type, m.version) for m in messages]
    assert received == [
        (True, "status", 1),
        (False, "status", 4),
        (True, "done", 2),
        (False, "done", 5),
    ]


def test_the_client_pings_before_the_gateway_closes_an_idle_socket(follow: Follow) -> None:
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


def test_a_refused_subscription_is_raised(follow: Follow) -> None:
    refusal = {"type": "error", "code": "job_not_found", "message": "There is no such job."}
    with live([refusal]) as server, pytest.raises(SubscriptionRefused) as raised:
        follow(Service(RUNNING), server.url)
    assert str(raised.value) == "There is no such job. (job_not_found)"
    assert raised.value.code == "job_not_found"


@pytest.mark.parametrize(
    "error",
    [
        {"type": "error", "code": "unavailable", "message": "later", "job_id": JOB},
        {"message": "Internal server error", "connectionId": "c", "requestId": "r"},
    ],
)
def test_temporary_errors_on_the_socket_are_retried(follow: Follow, error: dict[str, Any]) -> None:
    with live([error], [snapshot(2), done(3)]) as server:
        messages = follow(Service(RUNNING), server.url)
    assert [m.version for m in messages] == [1, 2, 3]


def _leave_blocking(url: str) -> None:
    with Service(RUNNING).client(url) as client:
        for _ in client.events([JOB]):
            break


def _leave_in_a_loop(url: str) -> None:
    async def leave() -> None:
        async with Service(RUNNING).async_client(url) as client:
            async for _ in client.events([JOB]):
                break

    asyncio.run(leave())


@pytest.mark.parametrize("leave", [_leave_blocking, _leave_in_a_loop])
def test_a_loop_that_is_left_closes_the_socket(leave: Callable[[str], None]) -> None:
    closed = threading.Event()

    def until_left(socket: ServerConnection) -> None:
        server.receive(socket)
        socket.send(json.dumps(snapshot(1)))
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=WITHIN)
        closed.set()

    before = set(threading.enumerate())
    with live(until_left) as server:
        leave(server.url)
        assert closed.wait(WITHIN)
    for thread in set(threading.enumerate()) - before:  # that have not ended yet
        thread.join(WITHIN)
        assert not thread.is_alive(), thread


@pytest.mark.parametrize("with_socket", [True, False])
def test_a_wait_ends_in_time(follow: Follow, with_socket: bool) -> None:
    def stay(socket: ServerConnection) -> None:
        socket.recv(timeout=WITHIN)
        socket.send(json.dumps(snapshot(1)))
        socket.recv(timeout=WITHIN)

    began = time.monotonic()
    with live(stay) as server, pytest.raises(TimeoutError) as raised:
        follow(Service(RUNNING), server.url if with_socket else None, timeout=0.2)
    assert isinstance(raised.value, WaitTimedOut)
    assert time.monotonic() - began < WITHIN  # the server would close the socket after it
