"""The Python clients pass the vectors that all clients share.

tests/vectors/README.md explains the fields of a case.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

from comfyline.client import (
    AsyncComfyline,
    Comfyline,
    ComfylineClientError,
    JobMessage,
    Pace,
    Retries,
)
from tests.support.eventually import WITHIN
from tests.unit.client.fakes import JOB, KEY, QUICK, URL

FOLDER = Path(__file__).parents[2] / "vectors"
FOLLOWING = json.loads((FOLDER / "following.json").read_text())
CALLS = json.loads((FOLDER / "calls.json").read_text())["cases"]

Json = dict[str, Any]


def name(case: Json) -> str:
    return str(case["name"])


def field(value: Any, path: str) -> Any:
    """The value at a path such as `result.artifacts.0.seed`."""
    for step in path.split("."):
        if isinstance(value, list):
            value = value[int(step)]
        else:
            value = value[step] if isinstance(value, dict) else getattr(value, step)
    return value


def assert_fields(value: Any, expected: Json) -> None:
    assert {path: field(value, path) for path in expected} == expected


def assert_error(error: ComfylineClientError | None, expected: Json | None) -> None:
    if expected is None:
        assert error is None
        return
    known = {"name": type(error).__name__, "message": str(error)}
    found = {key: known.get(key, getattr(error, key, None)) for key in expected}
    assert found == expected


def answered(answer: Json) -> httpx.Response:
    if "down" in answer:
        raise httpx.ConnectError("down")
    content = answer["text"] if "text" in answer else json.dumps(answer["body"])
    return httpx.Response(answer["status"], headers=answer.get("headers"), content=content)


def next_of(answers: list[Json]) -> Json:
    return answers.pop(0) if len(answers) > 1 else answers[0]


# --- following ------------------------------------------------------------------------------------


class Conversation:
    """The service in one case of following.json."""

    def __init__(self, case: Json) -> None:
        self.jobs = case.get("jobs", [JOB])
        self.subscriptions: list[list[Json]] = []
        self.history_after: list[int] = []
        self.reads = 0
        self._reads = list(case.get("reads", []))
        self._history = case.get("history", [])
        self._connections = list(case["connections"] or [])
        self._ended: set[str] = set()

    def answer(self, request: httpx.Request) -> httpx.Response:
        """A response of the HTTP API."""
        if request.url.path.endswith("/events"):
            self.history_after.append(int(request.url.params["after"]))
            body = {"job_id": JOB, "events": [], "messages": self._history}
            return httpx.Response(404 if self._history is None else 200, json=body)
        self.reads += 1
        answer = next_of(self._reads)
        if "view" in answer:
            return httpx.Response(200, json={**FOLLOWING["view"], **answer["view"]})
        return answered(answer)

    def admit(self, connection: ServerConnection, _request: Request) -> Response | None:
        """Refuse the handshake of a socket, or let it through."""
        if self._connections and self._connections[0]["then"] != "refuse":
            return None
        del self._connections[:1]
        return connection.respond(HTTPStatus.FORBIDDEN, "refused")

    def talk(self, socket: ServerConnection) -> None:
        """Serve a socket."""
        script = self._connections.pop(0)
        with contextlib.suppress(ConnectionClosed):
            awaited = [job for job in self.jobs if job not in self._ended]
            self.subscriptions.append([json.loads(socket.recv(timeout=WITHIN)) for _ in awaited])
            for frame in script["frames"]:
                if isinstance(frame, dict) and frame.get("type") == "done":
                    self._ended.add(frame["job_id"])
                socket.send(frame if isinstance(frame, str) else json.dumps(frame))
            if script["then"] == "stay":
                socket.recv(timeout=WITHIN)  # until the client has left

    @contextlib.contextmanager
    def sockets(self) -> Iterator[str]:
        """The address of the running socket."""
        with serve(self.talk, "127.0.0.1", 0, process_request=self.admit) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}/live"
            finally:
                server.shutdown()
                thread.join(WITHIN)


Told = tuple[list[JobMessage], ComfylineClientError | None]
Follow = Callable[[Conversation, str, Pace], Told]
ONE_TRY = Retries(tries=1)


def follow_blocking(service: Conversation, url: str, pace: Pace) -> Told:
    messages: list[JobMessage] = []
    http = httpx.MockTransport(service.answer)
    with Comfyline(URL, KEY, url, transport=http, retries=ONE_TRY, pace=pace) as client:
        try:
            messages.extend(client.events(service.jobs, 20))
        except ComfylineClientError as error:
            return messages, error
    return messages, None


def follow_in_a_loop(service: Conversation, url: str, pace: Pace) -> Told:
    async def told() -> Told:
        messages: list[JobMessage] = []
        http = httpx.MockTransport(service.answer)
        async with AsyncComfyline(
            URL, KEY, url, transport=http, retries=ONE_TRY, pace=pace
        ) as client:
            try:
                async for message in client.events(service.jobs, 20):
                    messages.append(message)
            except ComfylineClientError as error:
                return messages, error
        return messages, None

    return asyncio.run(told())


@pytest.mark.enable_socket
@pytest.mark.parametrize("follow", [follow_blocking, follow_in_a_loop])
@pytest.mark.parametrize("case", FOLLOWING["cases"], ids=name)
def test_a_job_is_followed(case: Json, follow: Follow) -> None:
    service, expected = Conversation(case), case["expect"]
    silence = case.get("silence_seconds", 60)
    pace = Pace(
        silence_seconds=silence,
        queue_seconds=silence,
        place_seconds=silence,
        poll_seconds=0.01,
        backoff=QUICK,
        close_seconds=0.5,
    )
    with service.sockets() as url:
        messages, error = follow(service, "" if case["connections"] is None else url, pace)
    assert [[m.type, m.version, m.part] for m in messages] == [e[:3] for e in expected["events"]]
    for message, event in zip(messages, expected["events"], strict=True):
        assert_fields(message, event[3] if len(event) > 3 else {})
    assert_error(error, expected.get("error"))
    if "subscriptions" in expected:
        assert service.subscriptions == expected["subscriptions"]
    assert service.reads == expected.get("reads", service.reads)
    if "history_after" in expected:
        assert service.history_after == expected["history_after"]


# --- calls ----------------------------------------------------------------------------------------


def called(client: Comfyline, case: Json) -> Any:
    method, job = getattr(client, case["call"]), case.get("job_id")
    if case["call"] == "submit":
        return method(**case["request"], idempotency_key=case.get("idempotency_key"))
    if case["call"] == "list":
        return list(method(case["status"], case["limit"], metadata=case.get("metadata")))
    return method(job) if job else method()


def assert_request(request: httpx.Request, expected: Json) -> None:
    path = request.url.raw_path.decode()
    assert (request.method, path) == (expected["method"], expected["path"])
    headers = expected.get("headers", {})
    assert {name: request.headers.get(name) for name in headers} == headers
    if "body" in expected:
        assert json.loads(request.content) == expected["body"]


@pytest.mark.parametrize("case", CALLS, ids=name)
def test_a_call_is_made(case: Json) -> None:
    answers, expected = list(case["answers"]), case["expect"]
    requests: list[httpx.Request] = []
    waits: list[float] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return answered(next_of(answers))

    http, retries = httpx.MockTransport(answer), Retries(tries=case.get("tries", 5))
    result, error = None, None
    with Comfyline(URL, KEY, "", transport=http, retries=retries, sleep=waits.append) as client:
        try:
            result = called(client, case)
        except ComfylineClientError as raised:
            error = raised
    assert_error(error, expected.get("error"))
    if "requests" in expected:
        for request, wanted in zip(requests, expected["requests"], strict=True):
            assert_request(request, wanted)
    if "one_key" in expected:
        keys = {request.headers.get("idempotency-key", "") for request in requests}
        assert [len(key) >= 32 for key in keys] == [True]
    if "waits" in expected:
        bounds = zip(waits, expected["waits"], strict=True)
        assert all(least <= wait <= most for wait, (least, most) in bounds)
    wanted = expected.get("result", {})
    for value, fields in zip(result, wanted, strict=True) if isinstance(wanted, list) else ():
        assert_fields(value, fields)
    if isinstance(wanted, dict) and wanted:
        assert_fields(result, wanted)


def test_the_page_explains_each_field_of_a_case() -> None:
    page = (FOLDER / "README.md").read_text()
    cases = [*FOLLOWING["cases"], *CALLS]
    fields = {field for case in cases for field in case.keys() - {"expect"}}
    fields |= {f"expect.{field}" for case in cases for field in case["expect"]}
    assert sorted(field for field in fields if f"`{field}`" not in page) == []
