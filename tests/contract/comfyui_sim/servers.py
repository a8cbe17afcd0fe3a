"""The simulator as a server of the replayed recordings, and the websockets of a client."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from comfyui_sim.options import Options
from comfyui_sim.server import Simulator
from tests.support import recordings
from tests.support.eventually import WITHIN


class InProcess:
    """A simulator in this process."""

    def __init__(self, options: Options) -> None:
        self._simulator = Simulator(options, exit_process=unexpected_exit)

    async def start(self) -> str:
        await self._simulator.__aenter__()
        return self._simulator.url

    async def stop(self) -> None:
        await self._simulator.__aexit__()

    def hold(self, held: bool) -> None:
        """Let no node begin while `held`."""
        self._simulator.engine.faults.apply({"stall": held})

    def sentinel(self) -> None:
        """Send all sockets a message that comes after all messages of the recording."""
        self._simulator.engine.hub.send("sentinel", {})


def unexpected_exit(status: int) -> None:
    raise AssertionError(f"the simulator tried to exit with {status}")


class Process:
    """A simulator in a separate process, which a recording may end."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._process: asyncio.subprocess.Process | None = None
        self._port = 0

    async def start(self) -> str:
        flags = {
            "--data-dir": self._options.data_dir,
            "--port": self._port,
            "--step-ms": self._options.step_ms,
            "--start-window-ms": self._options.start_window_ms,
            "--time-scale": self._options.time_scale,
        }
        words = [str(word) for pair in flags.items() for word in pair]
        words += [word for name in self._options.checkpoints for word in ("--checkpoint", name)]
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "comfyui_sim", *words),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), WITHIN)
        url = line.decode().split()[-1]
        self._port = urlsplit(url).port or 0
        return url

    async def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(number)
        await asyncio.wait_for(self._process.wait(), WITHIN)

    stop = kill

    def sentinel(self) -> None:
        raise AssertionError("a process cannot send a sentinel")


class Connection:
    """A websocket, the messages that it received, and the task that reads it."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, news: asyncio.Condition) -> None:
        self.socket = socket
        self.messages: list[dict[str, Any]] = []
        self.ended = False
        self._news = news
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        while True:
            message = await self.socket.receive()
            async with self._news:
                if message.type == aiohttp.WSMsgType.TEXT:
                    self.messages.append({"json": json.loads(message.data)})
                elif message.type == aiohttp.WSMsgType.BINARY:
                    self.messages.append({"binary": recordings.describe_frame(message.data)})
                else:
                    self.ended = True
                self._news.notify_all()
            if self.ended:
                return

    async def close(self, *, abort: bool) -> None:
        if abort:
            transport = self.socket.get_extra_info("socket")
            assert transport is not None
            response = self.socket._response.connection
            assert response is not None
            assert response.transport is not None
            response.transport.abort()
        else:
            self._task.cancel()
            await self.socket.close()
        await asyncio.gather(self._task, return_exceptions=True)
