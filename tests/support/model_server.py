"""A small server of one file that speaks S3's GetObject, with faults.

It counts which bytes it has sent, so that a test sees what was fetched twice.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

import boto3
from botocore.config import Config

from comfyline.adapters.aws.files.models import S3ModelStore, models_config

BLOCK = 4096  # bytes written at a time


@dataclass(slots=True)
class Faults:
    """How the server fails. Without any it serves the file."""

    cut_each: int | None = None  # the connection ends after so many bytes of each answer,
    cuts: int = 10**9  # so many times
    ignores_ranges: bool = False
    replaced_after: int | None = None  # requests; then another file of the same size is there
    bytes_per_second: float | None = None  # of each answer


@dataclass(slots=True)
class ModelServer:
    """The file, its faults, and what was asked for."""

    body: bytes
    faults: Faults = field(default_factory=Faults)
    requests: list[tuple[int, int]] = field(default_factory=list)  # first byte and end of each
    sent: int = 0  # bytes of bodies
    lock: Lock = field(default_factory=Lock)
    port: int = 0

    @contextmanager
    def store(self) -> Iterator[S3ModelStore]:
        """A store that reads from this server."""
        with store_at(self.port) as store:
            yield store

    @contextmanager
    def serving(self) -> Iterator[ModelServer]:
        """Serve until the block ends."""
        outer = self

        class Handler(_Handler):
            served = outer

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        self.port = server.server_address[1]
        serving = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        serving.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            serving.join()


@contextmanager
def store_at(port: int, connections: int = 16) -> Iterator[S3ModelStore]:
    """A store that reads from the server at that port."""
    options: Any = {
        "endpoint_url": f"http://127.0.0.1:{port}",
        "region_name": "eu-west-1",
        "aws_access_key_id": "test",
        "aws_secret_access_key": "test",
    }
    config = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1})
    client = boto3.client("s3", **options, config=config.merge(models_config(connections)))
    with closing(client):
        yield S3ModelStore(client, "models")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: ModelServer

    def do_GET(self) -> None:
        served, faults = self.served, self.served.faults
        with served.lock:
            body, start, end = self._asked()
            served.requests.append((start, end))
            is_cut = faults.cut_each is not None and faults.cuts > 0
            faults.cuts -= is_cut
        etag = f'"{sha256(body).hexdigest()[:32]}"'
        if self.headers.get("If-Match") not in (None, etag):
            return self._answer(412, etag, b"", {})
        if faults.ignores_ranges:
            return self._answer(200, etag, body, {})
        if start >= len(body):
            return self._answer(416, etag, b"", {})
        place = {"Content-Range": f"bytes {start}-{end - 1}/{len(body)}"}
        limit = faults.cut_each if is_cut else None
        return self._answer(206, etag, body[start:end], place, limit)

    def _asked(self) -> tuple[bytes, int, int]:
        served = self.served
        after = served.faults.replaced_after
        is_replaced = after is not None and len(served.requests) >= after
        body = served.body[::-1] if is_replaced else served.body
        first, _, last = self.headers["Range"].removeprefix("bytes=").partition("-")
        return body, int(first), min(int(last) + 1, len(body))

    def _answer(
        self, status: int, etag: str, body: bytes, headers: dict[str, str], limit: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in {"ETag": etag, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        with suppress(OSError):  # the client has gone
            self._send(body[:limit])
        self.close_connection = limit is not None

    def _send(self, body: bytes) -> None:
        for at in range(0, len(body), BLOCK):
            block = body[at : at + BLOCK]
            self.wfile.write(block)
            with self.served.lock:
                self.served.sent += len(block)
            if (rate := self.served.faults.bytes_per_second) is not None:
                time.sleep(len(block) / rate)

    def log_message(self, *_args: Any) -> None:
        """Nothing is logged."""
