"""ComfyUI's HTTP API, as far as a worker needs it. Every method makes one request, cancel two."""

from __future__ import annotations

import io
import os
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import IO, Any

import aiohttp

from comfyline.service.graphs.graph import faithful_json
from gpu_worker.comfy.marks import origin_of
from gpu_worker.comfy.outcomes import NodeProblem
from gpu_worker.comfy.outputs import OutputFile
from gpu_worker.comfy.shapes import engine_json, fields, items

# The engine's event loop shares the interpreter with its nodes, so a busy engine answers late.
CONNECT_SECONDS, SILENT_SECONDS = 2.0, 30.0
TIMEOUT = aiohttp.ClientTimeout(sock_connect=CONNECT_SECONDS, sock_read=SILENT_SECONDS)
SLOWEST_SEND = 1024 * 1024  # bytes a second, of a large body

MOST_TRIES = 30  # to remove prompts that queue each other, in a row
MOST_UNCHANGED = 3  # of these tries that found no other prompt than before
RECENT = 100  # entries of the history; a prompt that ended is among them for a while
_WRONG_OUTPUTS = "prompt_outputs_failed_validation"  # ComfyUI's type of the error

Graph = Mapping[str, Mapping[str, Any]]


class EngineUnreachable(Exception):
    """The engine did not answer: it is down, restarts or is too busy. It may still have acted."""


class EngineGone(EngineUnreachable):
    """The engine refuses connections: it has died, or is about to start."""


class EngineError(Exception):
    """The engine answered, but not as ComfyUI should."""


class EngineFailed(EngineError):
    """The engine answered that it has failed. It may be about to end."""


@dataclass(frozen=True, slots=True)
class EngineQueue:
    """The ids of the prompts that run (at most one) and of those that wait."""

    running: frozenset[str]
    pending: frozenset[str]
    origins: Mapping[str, str] = field(default_factory=dict)  # of prompts that have a mark

    @property
    def all(self) -> frozenset[str]:
        """The ids of all prompts in the engine."""
        return self.running | self.pending


class PromptRejected(Exception):
    """The graph is not valid for this engine: an unknown node, a bad link, a value out of range."""

    def __init__(self, error_type: str, message: str, problems: Sequence[NodeProblem]) -> None:
        super().__init__(message)
        self.type, self.message, self.problems = error_type, message, problems

    @classmethod
    def of_outputs(cls, problems: Sequence[NodeProblem]) -> PromptRejected:
        """The refusal of a graph of which ComfyUI would run only a part."""
        return cls(_WRONG_OUTPUTS, problems[0].message, problems)


def session_of(url: str) -> aiohttp.ClientSession:
    """A session with the engine at `url`, for `ComfyHttp`."""
    jar = aiohttp.DummyCookieJar()
    return aiohttp.ClientSession(f"{url.rstrip('/')}/", timeout=TIMEOUT, cookie_jar=jar)


@dataclass(frozen=True, slots=True)
class _Answer:
    request: str  # its method and path
    status: int
    content: bytes


class ComfyHttp:
    """The HTTP API of one engine. Every method may raise EngineUnreachable and EngineError."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        """The caller that made the session closes it."""
        self._session = session

    async def submit(
        self, graph: Graph, *, prompt_id: str, client_id: str, extra_data: Mapping[str, Any]
    ) -> tuple[NodeProblem, ...]:
        """Queue the graph under the id that the worker chose.

        Returns: the errors in outputs that ComfyUI leaves out while it runs the others.

        Raises:
            PromptRejected: the graph is not valid, and nothing of it was queued.
        """
        body = {
            "prompt": graph,
            "prompt_id": prompt_id,
            "client_id": client_id,
            "extra_data": extra_data,
        }
        # Halves of surrogate pairs cannot be sent as they are. ComfyUI reads them escaped.
        content = faithful_json(body)
        response = await self._request(
            "POST",
            "/prompt",
            data=io.BytesIO(content),
            headers={"content-type": "application/json"},
            timeout=_sending(len(content)),
            allow=HTTPStatus.BAD_REQUEST,
        )
        answer = _json(response)
        if response.status == HTTPStatus.BAD_REQUEST:
            raise _rejection(answer)
        return tuple(_problems(answer))

    async def queue(self) -> EngineQueue:
        """The prompts that run and wait."""
        queue = _json(await self._request("GET", "/queue"))
        running, pending = items(queue.get("queue_running")), items(queue.get("queue_pending"))
        return EngineQueue(_ids(running), _ids(pending), _origins(running + pending))

    async def history(self, prompt_id: str) -> Mapping[str, Any] | None:
        """The prompt's history entry; None until the prompt has ended."""
        entry = _json(await self._request("GET", f"/history/{prompt_id}")).get(prompt_id)
        return entry if isinstance(entry, dict) else None

    async def recent_origins(self) -> Mapping[str, str]:
        """The origins of the prompts that have ended last, as far as they have a mark."""
        recent = _json(await self._request("GET", f"/history?max_items={RECENT}"))
        return _origins([fields(entry).get("prompt") for entry in recent.values()])

    async def object_info(self) -> Mapping[str, Any]:
        """The description of every node class; `EngineNodes.parse` reads it. Some MB of JSON."""
        return _json(await self._request("GET", "/object_info"))

    async def system_stats(self) -> Mapping[str, Any]:
        """The engine's system and devices, the first of which it computes on."""
        return _json(await self._request("GET", "/system_stats"))

    async def remove(
        self, select: Callable[[EngineQueue], Collection[str]], queue: EngineQueue
    ) -> EngineQueue:
        """Delete those that wait and interrupt the one that runs, of the selected prompts.

        A prompt that queues the next one can be stopped only before it does so, and the next one
        only before it begins. Both are moments if they are short, so this tries again at once for
        as long as `select` finds other prompts. An interrupt that comes just when an execution
        begins is lost, so repeat the call after a pause until the prompts have ended.

        Returns: the queue as it was seen last.
        """
        asked, unchanged = set[str](), 0
        for _ in range(MOST_TRIES):
            found = select(queue)
            unchanged = unchanged + 1 if asked.issuperset(found) else 0
            if not found or unchanged == MOST_UNCHANGED:
                break
            asked.update(found)
            await self._stop(found, queue)
            queue = await self.queue()
        return queue

    async def _stop(self, prompt_ids: Collection[str], queue: EngineQueue) -> None:
        if waiting := [each for each in prompt_ids if each in queue.pending]:
            await self._request("POST", "/queue", json={"delete": waiting})
        for each in queue.running.intersection(prompt_ids):
            await self._request("POST", "/interrupt", json={"prompt_id": each})

    async def forget(self, prompt_id: str) -> None:
        """Delete the prompt's history entry, which holds the whole graph; its files stay."""
        await self._request("POST", "/history", json={"delete": [prompt_id]})

    async def view(self, file: OutputFile) -> AsyncIterator[bytes]:
        """The bytes of an output file, in chunks as they arrive."""
        query = {"filename": file.filename, "subfolder": file.subfolder, "type": file.type}
        async with self._answered("GET", "/view", params=query) as response:
            _check("GET /view", response.status)
            async for chunk in response.content.iter_any():
                yield chunk

    async def upload(self, name: str, file: IO[bytes], content_type: str) -> None:
        """Put a file of any kind into the input directory, in place of one of the same name."""
        form = aiohttp.FormData({"type": "input", "overwrite": "true"}, quote_fields=False)
        form.add_field("image", file, filename=name, content_type=content_type)
        timeout = _sending(os.fstat(file.fileno()).st_size)
        await self._request("POST", "/upload/image", data=form, timeout=timeout)

    async def _request(
        self, method: str, path: str, *, allow: int | None = None, **options: Any
    ) -> _Answer:
        """The answer, if its status is a success or `allow`; `options` are aiohttp's."""
        async with self._answered(method, path, **options) as response:
            answer = _Answer(f"{method} {path}", response.status, await response.read())
        if answer.status != allow:
            _check(answer.request, answer.status)
        return answer

    @asynccontextmanager
    async def _answered(
        self, method: str, path: str, **options: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        options |= {"allow_redirects": False}
        try:
            # Below the session's base URL, which may have a path.
            async with self._session.request(method, path.lstrip("/"), **options) as response:
                yield response
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _unreachable(f"{method} {path}", error) from error


def _sending(size: int) -> aiohttp.ClientTimeout:
    """The timeout for a body of so many bytes. An engine that is stopped reads only a part of it.

    aiohttp waits for that without end: its `sock_read` begins after the last byte.
    """
    total = 2 * SILENT_SECONDS + size / SLOWEST_SEND
    return aiohttp.ClientTimeout(total, sock_connect=CONNECT_SECONDS, sock_read=SILENT_SECONDS)


def _unreachable(request: str, error: Exception) -> EngineUnreachable:
    is_refused = isinstance(error, aiohttp.ClientConnectorError)
    kind = EngineGone if is_refused else EngineUnreachable
    return kind(f"{request}: {error!r}")


def _ids(entries: list[Any]) -> frozenset[str]:
    """The prompt ids: the second of the five parts of each entry. A node may queue numbers."""
    return frozenset(i for entry in entries for i in items(entry)[1:2] if type(i) in (str, int))


def _origins(entries: list[Any]) -> Mapping[str, str]:
    """For each prompt with a mark the prompt that it comes from."""
    marks = ((i, origin_of(entry)) for entry in entries for i in _ids([entry]))
    return {prompt_id: origin for prompt_id, origin in marks if origin is not None}


def _check(request: str, status: int) -> None:
    if not 200 <= status < 300:
        kind = EngineFailed if status >= 500 else EngineError
        raise kind(f"{request} answered {status}")


def _json(answer: _Answer) -> dict[str, Any]:
    try:
        value = engine_json(answer.content)
    except (ValueError, RecursionError) as error:
        raise EngineError(f"{answer.request} did not answer with JSON") from error
    if not isinstance(value, dict):
        raise EngineError(f"{answer.request} did not answer with an object")
    return value


def _problems(answer: Mapping[str, Any]) -> list[NodeProblem]:
    return [
        _problem(node_id, fields(node), fields(error))
        for node_id, node in fields(answer.get("node_errors")).items()
        for error in items(fields(node).get("errors"))
    ]


def _rejection(answer: Mapping[str, Any]) -> PromptRejected:
    problems = _problems(answer)
    error = fields(answer.get("error"))
    about = fields(error.get("extra_info"))
    # For a node class that is not installed, only the error itself names the node.
    if not problems and about.get("node_id") is not None:
        problems = [_problem(str(about["node_id"]), about, error)]
    default = problems[0].message if problems else "ComfyUI rejected the workflow."
    return PromptRejected(
        str(error.get("type") or "invalid_prompt"),
        str(error.get("message") or default),
        problems,
    )


def _problem(node_id: str, node: Mapping[str, Any], error: Mapping[str, Any]) -> NodeProblem:
    input_name = fields(error.get("extra_info")).get("input_name")
    return NodeProblem(
        node_id=node_id,
        node_type=None if node.get("class_type") is None else str(node["class_type"]),
        type=str(error.get("type")),
        message=f"{error.get('message')}: {error.get('details')}",
        input_name=None if input_name is None else str(input_name),
    )
