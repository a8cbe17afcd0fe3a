"""The worker's side of the program that makes thumbnails: `gpu_worker.thumbnail_server`."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import tempfile
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from gpu_worker.thumbnail import MAX_BYTES
from gpu_worker.thumbnail_server import NUMBER

SECONDS = 30.0  # for one picture, including the start of the program
LOWEST_PRIORITY = 19
REAP_SECONDS = 1.0  # until a process that was killed has ended
COMMAND = (sys.executable, "-m", "gpu_worker.thumbnail_server")

_ROOT = Path(__file__).parents[1]  # the folder that the program imports gpu_worker from

_log = logging.getLogger(__name__)


class ThumbnailProcess:
    """Starts the program with the first picture, and again if it has ended."""

    def __init__(self, command: Sequence[str] = COMMAND, *, seconds: float = SECONDS) -> None:
        self._command, self._seconds = command, seconds
        self._process: Process | None = None
        self._connection: socket.socket | None = None
        self._child: int | None = None  # the process that decodes a picture now

    async def thumbnail(self, picture: IO[bytes]) -> bytes | None:
        """The thumbnail of the picture, which is a file; None if none can be made of it.

        Call it for one picture at a time.
        """
        with tempfile.TemporaryFile() as out:
            try:
                status = await asyncio.wait_for(self._status(picture, out), self._seconds)
            except (TimeoutError, OSError) as error:
                extra = {"action": "thumbnail_process_failed", "reason": repr(error)}
                _log.warning("thumbnail not made", extra=extra)
                await self.end()
                return None
            return _webp(out) if status == 0 else None

    async def end(self) -> None:
        """Kill the program, and the child that decodes a picture. A later picture starts it."""
        process, self._process = self._process, None
        child, self._child = self._child, None
        if child is not None:  # before its parent, which has not waited for it
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()
            with suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), REAP_SECONDS)

    async def _status(self, picture: IO[bytes], out: IO[bytes]) -> int:
        """The exit status of the child that has made the thumbnail of `picture` in `out`.

        Raises:
            OSError: the program does not start, or has ended.
        """
        if self._process is None or self._connection is None:
            self._connection = await self._started()
        socket.send_fds(self._connection, [b"\0"], [picture.fileno(), out.fileno()])
        self._child = await _number(self._connection)
        status = await _number(self._connection)
        self._child = None
        return status

    async def _started(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=theirs.fileno(),
                stdout=DEVNULL,
                stderr=DEVNULL,
                cwd=_ROOT,
                env={},
            )
        # The GPU's work goes first, also while the interpreter starts. In a session of its own
        # the program would get as much CPU as the worker: Linux compares sessions first.
        with suppress(ProcessLookupError):
            os.setpriority(os.PRIO_PROCESS, self._process.pid, LOWEST_PRIORITY)
        return ours


async def _number(connection: socket.socket) -> int:
    answer = await asyncio.get_running_loop().sock_recv(connection, NUMBER.size)
    if len(answer) < NUMBER.size:
        raise ConnectionError("the program has ended")
    number: int = NUMBER.unpack(answer)[0]
    return number


def _webp(out: IO[bytes]) -> bytes | None:
    """What a child has written, unless it is no WebP, or too large."""
    out.seek(0)
    written = out.read(MAX_BYTES + 1)
    is_webp = written[:4] == b"RIFF" and written[8:12] == b"WEBP"
    return written if is_webp and len(written) <= MAX_BYTES else None
