"""Child processes: start them with a log each, restart them when they die, and stop them.

Every process of a local cloud has the cloud's folder in an environment variable, which its own
children inherit. So `end_all` finds all processes of a cloud, even if their parent was killed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import psutil

from localcloud.state import State

MARK = "COMFYLINE_LOCAL_CLOUD"
STOP_SECONDS = 10.0  # a worker gives its job back within 2 s; after 10 s it is killed
FIRST_RESTART_SECONDS = 0.2
LONGEST_RESTART_SECONDS = 5.0
STEADY_SECONDS = 10.0  # a process that lived this long did not fail at its start

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program to start. `environment` is the whole environment of the process."""

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str]


async def start(program: Program, state: State) -> asyncio.subprocess.Process:
    """Start the program, with its output in its log.

    It runs in its own session, so that a Ctrl-C in the terminal reaches only the supervisor.
    """
    with state.log(program.name).open("ab") as log:
        return await asyncio.create_subprocess_exec(
            *program.arguments,
            env={**program.environment, MARK: str(state.folder)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


async def stop(process: asyncio.subprocess.Process) -> None:
    """Terminate the process, and kill it if it does not end in time."""
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOP_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()


class Restarted:
    """A program that is started again whenever it dies, as ECS does.

    The pause before a restart grows while the program keeps failing at its start.
    """

    def __init__(self, program: Program, state: State, changed: Callable[[], None]) -> None:
        self._program, self._state, self._changed = program, state, changed
        self._process: asyncio.subprocess.Process | None = None
        self._keeping: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The id of the running process; None if it does not run."""
        alive = self._process is not None and self._process.returncode is None
        return self._process.pid if alive and self._process else None

    async def start(self) -> None:
        """Start the program, and keep it running."""
        self._process = await start(self._program, self._state)
        self._keeping = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Stop the program for good. Does nothing if it was never started."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        if self._process is not None:
            await stop(self._process)

    async def _keep(self) -> None:
        loop, pause = asyncio.get_running_loop(), FIRST_RESTART_SECONDS
        while self._process is not None:
            started_at = loop.time()
            self._changed()
            status = await self._process.wait()
            lived = loop.time() - started_at
            pause = FIRST_RESTART_SECONDS if lived > STEADY_SECONDS else pause * 2
            extra = {"action": "restarted", "program": self._program.name, "status": status}
            _log.warning("%s ended with %s", self._program.name, status, extra=extra)
            await asyncio.sleep(min(pause, LONGEST_RESTART_SECONDS))
            self._process = await start(self._program, self._state)


def stop_signal() -> asyncio.Event:
    """An event that SIGTERM or Ctrl-C sets."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def of_cloud(state: State) -> Iterator[psutil.Process]:
    """Every process of the cloud in that folder, with any parent, except this process."""
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(MARK) == str(state.folder):
                yield process


def end_all(state: State) -> None:
    """End every process of the cloud in that folder."""
    processes = list(of_cloud(state))
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs(processes, timeout=STOP_SECONDS)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=STOP_SECONDS)
