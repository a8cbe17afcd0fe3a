"""A small HTTP server in the place of the ECS agent and of the instance's metadata."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

METADATA = "/latest/meta-data/"
ACTION = f"{METADATA}spot/instance-action"


@dataclass
class Ecs:
    """The answers of the server (`action`, `answer`), and the requests that it received."""

    url: str = ""
    protections: list[dict[str, Any]] = field(default_factory=list)  # the requests, in order
    tokens: int = 0  # the number of tokens that were issued; only the last is valid
    action: str | None = None  # the spot interruption notice; None: there is none
    instance: dict[str, str] = field(default_factory=dict)  # further metadata, by name
    task: dict[str, Any] | None = None  # the metadata of the task
    answer: tuple[int, str] | None = None  # the answer to every request, if it is set


@contextmanager
def ecs() -> Iterator[Ecs]:
    """Run the server until the block ends."""
    double = Ecs()

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            if double.answer is not None:
                self._answer(*double.answer)
            elif self.path == "/latest/api/token":
                assert self.headers["X-aws-ec2-metadata-token-ttl-seconds"]
                double.tokens += 1
                self._answer(200, f"token-{double.tokens}")
            elif self.path == "/agent/task-protection/v1/state":
                double.protections.append(json.loads(body))
                self._answer(200, json.dumps({"protection": {"TaskArn": "arn:task"}}))
            else:
                self._answer(404, "")

        def do_GET(self) -> None:
            if double.answer is not None:
                self._answer(*double.answer)
            elif self.path == "/task" and double.task is not None:
                self._answer(200, json.dumps(double.task))
            elif self.headers["X-aws-ec2-metadata-token"] != f"token-{double.tokens}":
                self._answer(401, "")
            elif self.path == ACTION and double.action is not None:
                self._answer(200, double.action)
            elif (text := double.instance.get(self.path.removeprefix(METADATA))) is not None:
                self._answer(200, text)
            else:
                self._answer(404, "")

        def _answer(self, status: int, text: str) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            """Write no log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    double.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield double
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
