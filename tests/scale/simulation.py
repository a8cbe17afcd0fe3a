"""Virtual time: many processes of a deployment in one thread, on one clock.

A process is a greenlet. It gives up control only where the code under test waits: in `sleep`, in a
paced call of a port, or for the tasks of an executor. Time jumps to the next process that wakes up,
so ten minutes of a deployment take as long as its computing. Nothing happens twice at one moment in
another order: a simulation with the same seed repeats exactly.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from datetime import datetime, timedelta
from itertools import count
from random import Random
from typing import Any

from greenlet import greenlet

from tests.support.builders import NOW


class Simulation:
    """The clock and the processes. `random` is the only source of chance."""

    def __init__(self, seed: int = 1) -> None:
        self.random = Random(seed)
        self.seconds = 0.0
        self._order = count()
        self._waking: list[tuple[float, int, greenlet]] = []
        self._loop = greenlet(self._run)
        self._is_over = False

    def clock(self) -> datetime:
        """The time, as the code under test reads it."""
        return NOW + timedelta(seconds=self.seconds)

    def spawn(self, process: Callable[[], object]) -> None:
        """Start a process, now."""
        self._wake(self.seconds, greenlet(process))

    def sleep(self, seconds: float) -> None:
        """Wait, while the other processes go on."""
        self._wake(self.seconds + max(0.0, seconds), greenlet.getcurrent())
        self._loop.switch()

    def run(self, main: Callable[[], Any]) -> Any:
        """Run a process and everything that it starts, until it returns; its result."""
        result = Future[Any]()

        def process() -> None:
            try:
                result.set_result(main())
            except BaseException as error:  # noqa: BLE001 raised again below
                result.set_exception(error)
            self._is_over = True

        self._is_over, self._loop = False, greenlet(self._run)
        self.spawn(process)
        self._loop.switch()
        return result.result(timeout=0)

    # --- for executors ----------------------------------------------------------------------------

    def park(self, waiters: deque[greenlet]) -> None:
        """Wait until another process wakes this one."""
        waiters.append(greenlet.getcurrent())
        self._loop.switch()

    def wake_all(self, waiters: deque[greenlet]) -> None:
        """Wake every process that is parked there."""
        while waiters:
            self._wake(self.seconds, waiters.popleft())

    def _wake(self, at: float, process: greenlet) -> None:
        heapq.heappush(self._waking, (at, next(self._order), process))

    def _run(self) -> None:
        while self._waking and not self._is_over:
            at, _, process = heapq.heappop(self._waking)
            self.seconds = max(self.seconds, at)
            process.parent = greenlet.getcurrent()
            process.switch()


class VirtualExecutor(Executor):
    """A thread pool that runs its calls as processes of a simulation."""

    def __init__(self, simulation: Simulation, threads: int) -> None:
        self._simulation = simulation
        self._idle = threads
        self._queue: deque[Callable[[], None]] = deque()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Start the task as soon as a thread is free."""
        task: Future[Any] = Future()

        def work() -> None:
            try:
                task.set_result(fn(*args, **kwargs))
            except Exception as error:  # noqa: BLE001 the task holds it
                task.set_exception(error)

        self._queue.append(work)
        if self._idle:
            self._idle -= 1
            self._simulation.spawn(self._thread)
        return task

    def map(self, fn: Callable[..., Any], *iterables: Iterable[Any], **_: Any) -> Iterator[Any]:
        """The results in order; waiting for one lets the other processes go on."""
        tasks = [self.submit(fn, *values) for values in zip(*iterables, strict=False)]
        return (self._result(task) for task in tasks)

    def _thread(self) -> None:
        while self._queue:
            self._queue.popleft()()
        self._idle += 1

    def _result(self, task: Future[Any]) -> Any:
        if not task.done():
            waiters: deque[greenlet] = deque()
            task.add_done_callback(lambda _: self._simulation.wake_all(waiters))
            self._simulation.park(waiters)
        return task.result()
