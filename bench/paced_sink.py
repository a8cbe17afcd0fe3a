"""S3's API for uploads, with a limit on the speed of each connection, as S3 has one.

`python -m bench.paced_sink FOLDER BYTES_PER_SECOND LATENCY_SECONDS PORT_FILE` takes objects, whole
or in parts, until it is stopped. It writes its port into PORT_FILE, and each part to a file in
FOLDER, which is named by the last part of the object's key and the number of the part.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

BLOCK = 128 * 1024  # bytes that are read at a time
_LENGTH = re.compile(r"^content-length: *(\d+)", re.IGNORECASE | re.MULTILINE)
_EXPECTS = re.compile(r"^expect: *100-continue", re.IGNORECASE | re.MULTILINE)
_UPLOAD = "<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>"
_COMPLETE = '<CompleteMultipartUploadResult><ETag>"paced"</ETag></CompleteMultipartUploadResult>'


class PacedSink:
    """Takes uploads over HTTP/1.1 with connections that stay open."""

    def __init__(self, folder: Path, bytes_per_second: float, latency_seconds: float) -> None:
        self._folder, self._rate, self._latency = folder, bytes_per_second, latency_seconds

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection until the client closes it."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                if _EXPECTS.search(head):
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                body = await self._answer(head, reader)
                writer.write(_response(body))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, head: str, reader: asyncio.StreamReader) -> str:
        """Take the body of one request; the body of the answer."""
        method, target, _ = head.split(" ", 2)
        found = _LENGTH.search(head)
        url = urlsplit(target)
        query = parse_qs(url.query, keep_blank_values=True)
        part = int(query.get("partNumber", ["1"])[0])
        name = url.path.rpartition("/")[2]
        if method == "PUT":
            await self._take(reader, int(found[1]) if found else 0, f"{name}.{part:05}")
        else:
            await reader.readexactly(int(found[1]) if found else 0)
        await asyncio.sleep(self._latency)
        if method == "PUT":
            return ""
        return _UPLOAD if "uploads" in query else _COMPLETE

    async def _take(self, reader: asyncio.StreamReader, size: int, name: str) -> None:
        began, taken = time.monotonic(), 0
        with (self._folder / name).open("wb") as file:
            while taken < size:
                block = await reader.readexactly(min(BLOCK, size - taken))
                file.write(block)
                taken += len(block)
                ahead = taken / self._rate - (time.monotonic() - began)
                if ahead > 0:
                    await asyncio.sleep(ahead)


def _response(body: str) -> bytes:
    head = f'HTTP/1.1 200 OK\r\nETag: "paced"\r\nContent-Length: {len(body)}'
    return f"{head}\r\nContent-Type: application/xml\r\n\r\n{body}".encode()


async def main() -> None:
    """Take uploads until the process is stopped."""
    folder, rate, latency, port_file = sys.argv[1:]
    sink = PacedSink(Path(folder), float(rate), float(latency))
    server = await asyncio.start_server(sink.serve, "127.0.0.1", 0, limit=4 * BLOCK)
    Path(port_file).write_text(str(server.sockets[0].getsockname()[1]))
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
