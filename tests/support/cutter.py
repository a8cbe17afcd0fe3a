"""A TCP proxy that lets few connections in at a time, and can cut all of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from urllib.parse import urlsplit, urlunsplit


class Cutter:
    """A TCP proxy to `target`, on its own port.

    At most `at_once` connections may wait for the first bytes of the server; the next ones wait
    until those have come. A cut leaves the waiting connections alone, because the server would go
    on with them, beside `at_once` others.
    """

    def __init__(self, target: str, at_once: int = 8) -> None:
        parts = urlsplit(target)
        self._host, self._port = parts.hostname, parts.port
        self._parts = parts
        self._writers: set[asyncio.StreamWriter] = set()
        self._answered: set[asyncio.StreamWriter] = set()
        self._opening = asyncio.Semaphore(at_once)
        self._answers = asyncio.Condition()
        self.answered = 0  # how many connections the server has sent bytes to
        self.url = ""

    def cut(self) -> int:
        """Abort every connection that was answered; returns the number of their ends."""
        writers, self._answered = self._answered, set()
        for writer in writers:
            writer.transport.abort()
        return len(writers)

    async def until_answered(self, count: int) -> None:
        """Return once `count` connections have been answered since the beginning."""
        async with self._answers:
            await self._answers.wait_for(lambda: self.answered >= count)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Cutter]:
        """Serve until the block ends."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        self.url = urlunsplit(self._parts._replace(netloc=f"127.0.0.1:{port}"))
        try:
            yield self
        finally:
            server.close()
            for writer in self._writers:
                writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            async with self._opening:
                from_server, to_server = await asyncio.open_connection(self._host, self._port)
                self._writers |= {writer, to_server}
                sending = asyncio.ensure_future(self._pump(reader, to_server))
                first = asyncio.ensure_future(from_server.read(65536))
                await asyncio.wait([sending, first], return_when="FIRST_COMPLETED")
            self._answered |= {writer, to_server}
            answering = asyncio.ensure_future(self._answer(first, from_server, writer))
            await asyncio.wait([sending, answering], return_when="FIRST_COMPLETED")
            for end in (writer, to_server):
                end.transport.abort()
            self._writers -= {writer, to_server}
            self._answered -= {writer, to_server}

    async def _answer(
        self,
        first: asyncio.Future[bytes],
        from_server: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        with contextlib.suppress(OSError):
            if data := await first:
                writer.write(data)
                async with self._answers:
                    self.answered += 1
                    self._answers.notify_all()
                await self._pump(from_server, writer)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
