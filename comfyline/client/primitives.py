"""What the asyncio client and the blocking client do differently.

Each name with `Async` or `_async` belongs to the asyncio client; the same name without it is what
the blocking client, which is generated from the other, uses in its place.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Awaitable, Callable, Sequence

from websockets.asyncio.client import ClientConnection as AsyncConnection
from websockets.sync.client import ClientConnection as Connection

AsyncSleep = Callable[[float], Awaitable[None]]
Sleep = Callable[[float], None]
AsyncCall = Callable[[], Awaitable[None]]
Call = Callable[[], None]


pause_async: AsyncSleep = asyncio.sleep
pause: Sleep = time.sleep


async def receive_async(socket: AsyncConnection, seconds: float) -> str | bytes | None:
    """The socket's next message, or None if there is none within so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            return await socket.recv()
    except TimeoutError:
        return None


def receive(socket: Connection, seconds: float) -> str | bytes | None:
    """The socket's next message, or None if there is none within so many seconds."""
    try:
        return socket.recv(timeout=seconds)
    except TimeoutError:
        return None


class Stopped(Exception):
    """The group that this call belongs to has failed or was interrupted."""


class AsyncGroup:
    """Calls that run side by side, each in a task."""

    async def run(self, calls: Sequence[AsyncCall], at_once: int) -> None:
        """Run all calls, at most `at_once` at the same time; the first error cancels the others."""
        gate = asyncio.Semaphore(at_once)

        async def run_one(call: AsyncCall) -> None:
            async with gate:
                await call()

        tasks = [asyncio.create_task(run_one(call)) for call in calls]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def raise_if_stopped(self) -> None:
        """Do nothing: asyncio cancels a task wherever it waits."""


class Group:
    """Calls that run side by side, each in a thread.

    A thread cannot be cancelled, so a call asks `raise_if_stopped` before it changes anything. The
    threads are daemons, and an interrupted `run` does not wait for them, so that Ctrl-C works at
    once even while a thread waits for the network. Such a thread ends at its next chunk or timeout.
    """

    def __init__(self) -> None:
        self._stopped = threading.Event()
        self._errors: list[BaseException] = []

    def run(self, calls: Sequence[Call], at_once: int) -> None:
        """Run all calls, at most `at_once` at the same time; the first error stops the others."""
        waiting: queue.SimpleQueue[Call] = queue.SimpleQueue()
        for call in calls:
            waiting.put(call)
        threads = [
            threading.Thread(target=self._work, args=(waiting,), daemon=True)
            for _ in range(min(at_once, len(calls)))
        ]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            self._stopped.set()
        if self._errors:
            raise self._errors[0]

    def raise_if_stopped(self) -> None:
        """Raise Stopped after the group has failed or was interrupted."""
        if self._stopped.is_set():
            raise Stopped

    def _work(self, waiting: queue.SimpleQueue[Call]) -> None:
        while not self._stopped.is_set():
            try:
                call = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                call()
            except Stopped:
                return
            except BaseException as error:  # noqa: BLE001  # `run` raises it
                self._errors.append(error)
                self._stopped.set()
