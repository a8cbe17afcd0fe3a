"""One file behind S3's API, with a limit on the speed of each connection, as S3 has one.

`python -m bench.paced_store FILE BYTES_PER_SECOND PORT_FILE` serves the file as `s3://models/<any
key>` until it is stopped, and writes its port into PORT_FILE. Clients read it whole or in ranges.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from pathlib import Path
from typing import BinaryIO

BLOCK = 128 * 1024  # bytes that are sent at a time
LATENCY_SECONDS = 0.03  # until an answer begins, as S3's usual latency
_RANGE = re.compile(r"^range: *bytes=(\d+)-(\d*)", re.IGNORECASE | re.MULTILINE)


class PacedStore:
    """Serves one file over HTTP/1.1 with connections that stay open."""

    def __init__(self, path: Path, bytes_per_second: float) -> None:
        self._path, self._size, self._rate = path, path.stat().st_size, bytes_per_second

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection until the client closes it."""
        with self._path.open("rb") as file:
            try:
                while True:
                    request = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                    await self._answer(request, file, writer)
            except (asyncio.IncompleteReadError, ConnectionError):
                pass
            finally:
                writer.close()

    async def _answer(self, request: str, file: BinaryIO, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(LATENCY_SECONDS)
        method, target, _ = request.split(" ", 2)
        if "list-type=" in target or target.rstrip("/") == "/models":
            await _listed(self._size, writer)
            return
        found = _RANGE.search(request)
        start = int(found[1]) if found else 0
        end = min(int(found[2]) + 1, self._size) if found and found[2] else self._size
        lines = [
            "HTTP/1.1 206 Partial Content" if found else "HTTP/1.1 200 OK",
            f"Content-Length: {end - start}",
            'ETag: "paced"',
            "Accept-Ranges: bytes",
            "Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT",
            *([f"Content-Range: bytes {start}-{end - 1}/{self._size}"] if found else []),
        ]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        if method == "GET":
            await self._send(file, start, end, writer)
        await writer.drain()

    async def _send(
        self, file: BinaryIO, start: int, end: int, writer: asyncio.StreamWriter
    ) -> None:
        began, at = time.monotonic(), start
        loop = asyncio.get_running_loop()
        while at < end:
            count = min(BLOCK, end - at)
            at += await loop.sendfile(writer.transport, file, at, count)
            ahead = (at - start) / self._rate - (time.monotonic() - began)
            if ahead > 0:
                await asyncio.sleep(ahead)


async def _listed(size: int, writer: asyncio.StreamWriter) -> None:
    """A listing with one file, which some clients ask for first."""
    body = (
        '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult><Name>models</Name>'
        f"<KeyCount>1</KeyCount><Contents><Key>model</Key><Size>{size}</Size>"
        "<LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>paced</ETag></Contents>"
        "<IsTruncated>false</IsTruncated></ListBucketResult>"
    )
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nContent-Type: application/xml"
    writer.write(f"{head}\r\n\r\n{body}".encode())
    await writer.drain()


async def main() -> None:
    """Serve until the process is stopped."""
    path, rate, port_file = sys.argv[1:]
    store = PacedStore(Path(path), float(rate))
    server = await asyncio.start_server(store.serve, "127.0.0.1", 0)
    Path(port_file).write_text(str(server.sockets[0].getsockname()[1]))
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
