"""The link that `make up` prints, and the browser that `make run OPEN=1` opens."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from localcloud.sign_in import opened, sign_in_link
from localcloud.state import CloudFailed, Endpoints

OPEN = "import sys; from localcloud.sign_in import opened; print(opened(sys.argv[1]))"
LINK = "http://127.0.0.1:1/console#/sign-in?code=cll_x"


@contextmanager
def a_service(status: int, body: str) -> Iterator[Endpoints]:
    """A service that answers so, if the key is sent."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/api/v1/sessions/links"
            self.send_response(status if self.headers["Authorization"] == "Bearer cl_k" else 401)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield endpoints(f"http://127.0.0.1:{server.server_port}")
        server.shutdown()


def endpoints(url: str) -> Endpoints:
    return Endpoints(
        api_url=url, ws_url="", api_key="cl_k", second_api_key="", region="r", outputs={}
    )


def test_the_code_is_in_the_fragment() -> None:
    with a_service(201, json.dumps({"code": "cll_abc"})) as service:
        assert sign_in_link(service) == f"{service.api_url}/console#/sign-in?code=cll_abc"


@pytest.mark.parametrize(
    ("status", "body"), [(503, ""), (201, "<html>"), (201, "{}"), (401, '{"code": "x"}')]
)
def test_a_service_without_a_link_is_told(status: int, body: str) -> None:
    with a_service(status, body) as service, pytest.raises(CloudFailed, match="no link"):
        sign_in_link(service)


def test_a_service_that_is_gone_is_told() -> None:
    with pytest.raises(CloudFailed, match="no link"):
        sign_in_link(endpoints("http://127.0.0.1:1"))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there are always windows")
def test_without_windows_no_browser_of_the_terminal_is_started() -> None:
    assert not opened(LINK, {"PATH": os.environ["PATH"]})


@pytest.mark.skipif(sys.platform == "win32", reason="the browser here is a shell script")
def test_the_link_is_given_to_the_browser(tmp_path: Path) -> None:
    browser, seen = tmp_path / "browser", tmp_path / "seen"
    browser.write_text(f'#!/bin/sh\necho "$1" > {seen}\n')
    browser.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", OPEN, LINK],
        env={**os.environ, "BROWSER": f"{browser} %s"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout.strip(), seen.read_text().strip()) == ("True", LINK)
