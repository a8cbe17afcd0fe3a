"""Performs what flows ask for: once blocking, once for asyncio. Nothing is decided here."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import httpx
from websockets.asyncio.client import ClientConnection as AsyncSocket
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from comfyline.client import flow as do
from comfyline.client.flow import Effect, Flow, SocketLost, Steps

T = TypeVar("T")

# Silence finds a dead connection and our own ping keeps a live one; no message of the service is
# larger than the library's own bound.
_SOCKET_OPTIONS: dict[str, Any] = {"ping_interval": None}


@contextlib.contextmanager
def _lost_sockets() -> Iterator[None]:
    try:
        yield
    except (OSError, WebSocketException) as error:
        raise SocketLost(repr(error)) from error


class Shell:
    """Runs flows in the calling thread."""

    def __init__(
        self,
        transport: httpx.BaseTransport | None,
        timeout: httpx.Timeout,
        sleep: Callable[[float], None] | None,
    ) -> None:
        # Without the key as a default header: the same client fetches files from elsewhere.
        self.http = httpx.Client(transport=transport, timeout=timeout)
        self.sleep = sleep or time.sleep

    def close(self) -> None:
        """Close what flows share."""
        self.http.close()

    def run(self, flow: Flow[T]) -> T:
        """The flow's result."""
        steps = Steps(flow)
        for _ in self._walked(flow, steps):
            pass
        result: T = steps.result
        return result

    def told(self, flow: Flow[Any]) -> Iterator[Any]:
        """What the flow tells, as it tells it."""
        return self._walked(flow, Steps(flow))

    def _walked(self, flow: Flow[T], steps: Steps[T]) -> Iterator[Any]:
        with contextlib.closing(_Line(self)) as line, contextlib.closing(flow):
            for effect in steps:
                if isinstance(effect, do.Tell):
                    yield effect.value
                    continue
                try:
                    answer = line.perform(effect)
                except Exception as error:  # noqa: BLE001  # the flow decides
                    steps.fail(error)
                else:
                    steps.answer(answer)

    def together(self, work: do.Together) -> list[Any]:
        """The results of flows, each in a thread of its own."""
        with ThreadPoolExecutor(work.at_once) as threads:
            return list(threads.map(self.run, work.flows))


class _Line:
    """What one flow has open."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._socket: ClientConnection | None = None
        self._opened = contextlib.ExitStack()
        self._fetched = contextlib.ExitStack()
        self._chunks: Iterator[bytes] = iter(())

    def perform(self, effect: Effect) -> Any:
        match effect:
            case do.Call(method, url, headers, options):
                return self._shell.http.request(method, url, headers=dict(headers), **options)
            case do.Pause(seconds):
                return self._shell.sleep(seconds)
            case do.OpenSocket():
                return self._open(effect)
            case do.Say(text):
                return self._say(text)
            case do.Hear(seconds):
                return self._hear(seconds)
            case do.CloseSocket():
                return self._close_socket()
            case do.Fetch(url, headers):
                self._fetched.close()  # of a try that has failed
                stream = self._shell.http.stream("GET", url, headers=dict(headers))
                response = self._fetched.enter_context(stream)
                self._chunks = response.iter_raw()
                return response
            case do.NextChunk():
                return next(self._chunks, b"")
            case do.EndFetch():
                return self._fetched.close()
            case do.Together():
                return self._shell.together(effect)
        raise TypeError(effect)

    def close(self) -> None:
        self._fetched.close()
        self._close_socket()

    def _open(self, wanted: do.OpenSocket) -> None:
        with _lost_sockets():
            connecting = connect(
                wanted.url,
                additional_headers=dict(wanted.headers),
                open_timeout=wanted.open_seconds,
                close_timeout=wanted.close_seconds,
                **_SOCKET_OPTIONS,
            )
            self._socket = self._opened.enter_context(connecting)

    def _say(self, text: str) -> None:
        with _lost_sockets():
            _surely(self._socket).send(text)

    def _hear(self, seconds: float) -> str | bytes | None:
        with _lost_sockets():
            try:
                return _surely(self._socket).recv(timeout=seconds)
            except TimeoutError:
                return None

    def _close_socket(self) -> None:
        self._socket = None
        self._opened.close()


class AsyncShell:
    """Runs flows in an event loop."""

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport | None,
        timeout: httpx.Timeout,
        sleep: Callable[[float], Awaitable[None]] | None,
    ) -> None:
        self.http = httpx.AsyncClient(transport=transport, timeout=timeout)
        self.sleep = sleep or asyncio.sleep

    async def close(self) -> None:
        """Close what flows share."""
        await self.http.aclose()

    async def run(self, flow: Flow[T]) -> T:
        """The flow's result."""
        steps = Steps(flow)
        async for _ in self._walked(flow, steps):
            pass
        result: T = steps.result
        return result

    def told(self, flow: Flow[Any]) -> AsyncIterator[Any]:
        """What the flow tells, as it tells it."""
        return self._walked(flow, Steps(flow))

    async def _walked(self, flow: Flow[T], steps: Steps[T]) -> AsyncIterator[Any]:
        line = _AsyncLine(self)
        try:
            for effect in steps:
                if isinstance(effect, do.Tell):
                    yield effect.value
                    continue
                try:
                    answer = await line.perform(effect)
                except Exception as error:  # noqa: BLE001  # the flow decides
                    steps.fail(error)
                else:
                    steps.answer(answer)
        finally:
            flow.close()
            await line.close()

    async def together(self, work: do.Together) -> list[Any]:
        """The results of flows, each in a task of its own."""
        gate = asyncio.Semaphore(work.at_once)

        async def one(flow: Flow[Any]) -> Any:
            async with gate:
                return await self.run(flow)

        tasks = [asyncio.create_task(one(flow)) for flow in work.flows]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()


class _AsyncLine:
    """What one flow has open."""

    def __init__(self, shell: AsyncShell) -> None:
        self._shell = shell
        self._socket: AsyncSocket | None = None
        self._opened = contextlib.AsyncExitStack()
        self._fetched = contextlib.AsyncExitStack()
        self._chunks: AsyncIterator[bytes] | None = None

    async def perform(self, effect: Effect) -> Any:
        match effect:
            case do.Call(method, url, headers, options):
                return await self._shell.http.request(method, url, headers=dict(headers), **options)
            case do.Pause(seconds):
                return await self._shell.sleep(seconds)
            case do.OpenSocket():
                return await self._open(effect)
            case do.Say(text):
                return await self._say(text)
            case do.Hear(seconds):
                return await self._hear(seconds)
            case do.CloseSocket():
                return await self._close_socket()
            case do.Fetch(url, headers):
                await self._fetched.aclose()  # of a try that has failed
                stream = self._shell.http.stream("GET", url, headers=dict(headers))
                response = await self._fetched.enter_async_context(stream)
                self._chunks = response.aiter_raw()
                return response
            case do.NextChunk():
                return await anext(_surely(self._chunks), b"")
            case do.EndFetch():
                return await self._fetched.aclose()
            case do.Together():
                return await self._shell.together(effect)
        raise TypeError(effect)

    async def close(self) -> None:
        await self._fetched.aclose()
        await self._close_socket()

    async def _open(self, wanted: do.OpenSocket) -> None:
        with _lost_sockets():
            connecting = connect_async(
                wanted.url,
                additional_headers=dict(wanted.headers),
                open_timeout=wanted.open_seconds,
                close_timeout=wanted.close_seconds,
                **_SOCKET_OPTIONS,
            )
            self._socket = await self._opened.enter_async_context(connecting)

    async def _say(self, text: str) -> None:
        with _lost_sockets():
            await _surely(self._socket).send(text)

    async def _hear(self, seconds: float) -> str | bytes | None:
        limit = None if seconds == float("inf") else seconds
        with _lost_sockets():
            try:
                async with asyncio.timeout(limit):
                    return await _surely(self._socket).recv()
            except TimeoutError:
                return None

    async def _close_socket(self) -> None:
        self._socket = None
        await self._opened.aclose()


def _surely(opened: T | None) -> T:
    if opened is None:
        raise SocketLost("nothing is open")
    return opened
