"""A scripted HTTP service and a scripted live socket for the tests of the client."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from comfyline.client import AsyncComfyline, Backoff, Comfyline, Pace, Retries
from comfyline.contract.v1.socket import JobMessage
from tests.support.eventually import WITHIN

JOB = "job_01jc3m9p8qk2v5w7x9y0z1a2b3"
URL = "https://api.test"
KEY = "cl_abc_secret"
OTHER = "job_" + "0" * 26
QUICK = Backoff(base_seconds=0.01, cap_seconds=0.02)
PACE = Pace(poll_seconds=0.01, backoff=QUICK, close_seconds=0.5)

Handler = Callable[[httpx.Request], httpx.Response]
Script = Callable[[ServerConnection], None]


def artifact(name: str = "fox.png", content: bytes = b"pixels", **changes: Any) -> dict[str, Any]:
    return {
        "url": f"https://files.test/{hashlib.sha256(content).hexdigest()}?signature=1",
        "name": name,
        "kind": "images",
        "content_type": "image/png",
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "node": "9",
        **changes,
    }


def job_view(status: str = "running", version: int = 3, **changes: Any) -> dict[str, Any]:
    return {
        "job_id": JOB,
        "status": status,
        "progress": 0.42,
        "progress_detail": {"node": "3", "node_type": "KSampler", "step": 8, "steps": 20},
        "submitted_by": "ann",
        "params": {"prompt": "a red fox"},
        "metadata": {},
        "priority": "normal",
        "timestamps": {"queued_at": "2026-01-02T03:04:05Z"},
        "attempt": 1,
        "interruptions": 0,
        "cached": False,
        "gpu_seconds": 0.0,
        "version": version,
        **changes,
    }


RUNNING = job_view("running", version=1)


def succeeded(*artifacts: dict[str, Any], version: int = 9) -> dict[str, Any]:
    return job_view("succeeded", version, progress=1.0, result={"artifacts": list(artifacts)})


def problem(status: int, code: str, detail: str, **more: Any) -> httpx.Response:
    body = {"type": f"urn:{code}", "title": code.replace("_", " ").capitalize(), "status": status}
    body |= {"detail": detail, "code": code, "request_id": "req-1", **more}
    return httpx.Response(status, json=body, headers={"content-type": "application/problem+json"})


def accepted(status: str = "queued") -> httpx.Response:
    body = {"job_id": JOB, "status": status, "queued_at": "2026-01-02T03:04:05Z"}
    return httpx.Response(202, json={**body, "location": f"/api/v1/jobs/{JOB}"})


class Service:
    """Answers each request with the next of `answers`, and repeats the last one.

    An answer is a response, an exception to raise, a job view, or a function of the request.
    """

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.waits: list[float] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        if callable(answer):
            answer = answer(request)
        return httpx.Response(200, json=answer) if isinstance(answer, dict) else answer

    def _wait(self, seconds: float) -> None:
        self.waits.append(seconds)

    def client(self, ws_url: str | None = None, pace: Pace = PACE, tries: int = 5) -> Comfyline:
        return Comfyline(
            URL,
            KEY,
            ws_url or "",
            transport=httpx.MockTransport(self),
            retries=Retries(tries=tries),
            pace=pace,
            sleep=self._wait,
        )

    def async_client(self, ws_url: str | None = None, pace: Pace = PACE) -> AsyncComfyline:
        async def wait(seconds: float) -> None:
            self._wait(seconds)

        transport = httpx.MockTransport(self)
        return AsyncComfyline(URL, KEY, ws_url or "", transport=transport, pace=pace, sleep=wait)


class Stream(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that both clients read in chunks; an exception among the chunks breaks it."""

    def __init__(self, *chunks: bytes | Exception) -> None:
        self.chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self.chunks:
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self:
            yield chunk


class Live:
    """A live socket on a loopback port. The n-th connection runs the n-th script, or the last one.

    `heard` has what clients have sent, one list for each connection; `keys` has their API keys.
    """

    def __init__(self, *scripts: Script) -> None:
        self.scripts = list(scripts)
        self.heard: list[list[dict[str, Any]]] = []
        self.keys: list[str | None] = []
        self.url = ""

    def __call__(self, socket: ServerConnection) -> None:
        script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        self.heard.append([])
        assert socket.request is not None
        self.keys.append(socket.request.headers.get("Authorization"))
        with contextlib.suppress(ConnectionClosed):
            script(socket)

    def receive(self, socket: ServerConnection) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(socket.recv(timeout=WITHIN))
        self.heard[-1].append(message)
        return message


@contextlib.contextmanager
def live(*scripts: Script | list[dict[str, Any]]) -> Iterator[Live]:
    """A running `Live`. A list instead of a script is sent after the subscription."""
    server_side = Live()
    server_side.scripts = [_sending(server_side, s) if isinstance(s, list) else s for s in scripts]
    with serve(server_side, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        server_side.url = f"ws://127.0.0.1:{server.socket.getsockname()[1]}/live"
        try:
            yield server_side
        finally:
            server.shutdown()
            thread.join(WITHIN)


def _sending(server_side: Live, messages: list[dict[str, Any]]) -> Script:
    def script(socket: ServerConnection) -> None:
        server_side.receive(socket)
        for message in messages:
            socket.send(json.dumps(message))

    return script


def status(version: int, state: str = "running", **more: Any) -> dict[str, Any]:
    message = {"type": "status", "job_id": JOB, "version": version, "status": state}
    return {**message, "progress": 0.1, "attempt": 1, **more}


def snapshot(version: int, state: str = "running", **more: Any) -> dict[str, Any]:
    return status(version, state, snapshot=True, **more)


def progress(version: int, **more: Any) -> dict[str, Any]:
    return {"type": "progress", "job_id": JOB, "version": version, "progress": 0.5, **more}


def done(version: int, state: str = "succeeded", part: int = 1, **more: Any) -> dict[str, Any]:
    message = {"type": "done", "job_id": JOB, "version": version, "part": part, "status": state}
    return {**message, **more}


def order(messages: list[JobMessage]) -> list[tuple[str, int, int]]:
    return [(m.type, m.version, m.part) for m in messages]
