"""Whether a process works: its CPU time, its I/O, and the GPU. For Linux."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from os import sysconf
from pathlib import Path

from gpu_worker.processes import PROC, processes_of

BUSY_CPU = 0.1  # of one core; an engine that only answers polls needs a tenth of this
BUSY_IO = 256 * 1024  # bytes a second, read and written
BUSY_GPU = 5  # percent of the time in which a kernel ran
GPU_SECONDS = 10.0  # between two readings of the GPU, because each starts a process
_GPU_TIMEOUT = 5.0
_GPU_COMMAND = ("nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits")
_TICKS = sysconf("SC_CLK_TCK")
_TIMES = slice(11, 15)  # CPU time in the fields of `stat`, with that of children that have ended


@dataclass(frozen=True, slots=True)
class _Work:
    """What a session has used since its start."""

    at: float
    cpu_seconds: float
    io_bytes: int


class ProcessActivity:
    """Compares what the processes of one session have used, from call to call."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, proc: Path = PROC) -> None:
        self._clock, self._proc = clock, proc
        self._last: dict[int, _Work] = {}  # of the last call's session
        self._gpu_asked_at = float("-inf")
        self._gpu_is_busy = False

    async def is_busy(self, session: int, window_seconds: float) -> bool:
        """Whether the session has worked over a window of time, or the GPU works now.

        The CPU and the disk are judged once `window_seconds` have passed since the last reading,
        because an idle engine has short bursts of work. Before that they do not count.
        """
        return self._has_worked(session, window_seconds) or await self._gpu_works()

    def _has_worked(self, session: int, window_seconds: float) -> bool:
        last = self._last.get(session)
        seconds = 0.0 if last is None else self._clock() - last.at
        if last is not None and seconds < window_seconds:
            return False
        now = self._work(session)
        self._last = {session: now}
        if last is None or seconds <= 0:
            return False
        cpu, io = now.cpu_seconds - last.cpu_seconds, now.io_bytes - last.io_bytes
        return cpu / seconds >= BUSY_CPU or io / seconds >= BUSY_IO

    def _work(self, session: int) -> _Work:
        cpu, io = 0.0, 0
        for folder, stat in processes_of(session, self._proc):
            with suppress(ValueError):
                cpu += sum(map(int, stat[_TIMES])) / _TICKS
                io += _io_bytes(folder)
        return _Work(self._clock(), cpu, io)

    async def _gpu_works(self) -> bool:
        if self._clock() - self._gpu_asked_at >= GPU_SECONDS:
            self._gpu_asked_at = self._clock()
            self._gpu_is_busy = max(await _gpu_percents(), default=0) >= BUSY_GPU
        return self._gpu_is_busy


def _io_bytes(folder: Path) -> int:
    """Bytes read and written; 0 if the process belongs to another user."""
    with suppress(OSError, ValueError, KeyError):
        lines = (line.partition(":") for line in (folder / "io").read_text().splitlines())
        counts = {name: int(value) for name, _, value in lines}
        return counts["rchar"] + counts["wchar"]
    return 0


async def _gpu_percents() -> list[int]:
    """How busy each GPU of this machine is; empty without NVIDIA's tool."""
    try:
        process = await asyncio.create_subprocess_exec(
            *_GPU_COMMAND, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
    except OSError:
        return []
    try:
        output, _ = await asyncio.wait_for(process.communicate(), _GPU_TIMEOUT)
    except TimeoutError:
        return []
    finally:
        if process.returncode is None:
            process.kill()
    return [int(line) for line in output.decode().splitlines() if line.strip().isdigit()]
