"""A way to a server that can be cut: every connection through it breaks, as networks do."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from urllib.parse import urlsplit, urlunsplit


class Cutter:
    """A TCP proxy on a port of its own."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._host, self._port = parts.hostname, parts.port
        self._parts = parts
        self._writers: set[asyncio.StreamWriter] = set()
        self.url = ""

    def cut(self) -> int:
        """Break every connection, without a word; how many there were."""
        writers, self._writers = self._writers, set()
        for writer in writers:
            writer.transport.abort()
        return len(writers)

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
            self.cut()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            theirs, ours = await asyncio.open_connection(self._host, self._port)
            self._writers |= {writer, ours}
            both = [self._pump(reader, ours), self._pump(theirs, writer)]
            await asyncio.wait(map(asyncio.ensure_future, both), return_when="FIRST_COMPLETED")
            for each in (writer, ours):
                each.transport.abort()
            self._writers -= {writer, ours}

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
