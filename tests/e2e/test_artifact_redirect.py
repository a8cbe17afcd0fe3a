"""The address of a file, as httpx, curl and a page of another origin in Chromium follow it."""

from __future__ import annotations

import secrets
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from comfyline.contract.ids import OwnerId
from localcloud.state import Endpoints
from tests.e2e.account import Account
from tests.e2e.caller import Caller
from tests.support import web
from tests.support.browser import a_browser, needs_chromium

# What a page of another origin does: the URL as JSON, then the redirect itself.
_PAGE = """
async ([address, token]) => {
  const headers = { Authorization: `Bearer ${token}` };
  const answer = await fetch(address, { headers: { ...headers, Accept: "application/json" } });
  const link = await answer.json();
  const file = await (await fetch(link.url)).text();
  const followed = await (await fetch(address, { headers })).text();
  const head = await fetch(address, { headers, method: "HEAD" });
  return { file, followed, head: head.status, cache: answer.headers.get("Cache-Control") };
}
"""


class _Empty(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>elsewhere</title>")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """The address of a page of another origin."""
    server = HTTPServer(("127.0.0.1", 0), _Empty)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture
def caller(endpoints: Endpoints) -> Caller:
    account, owner = Account(endpoints), OwnerId("files-" + secrets.token_hex(4))
    return Caller(account, owner, account.new_key(owner))


@pytest.fixture
def address(caller: Caller) -> str:
    """The address of a file of the caller."""
    return f"{caller.account.endpoints.api_url}/api/v1/jobs/{caller.ended().id}/artifacts/0"


def test_httpx_and_curl_follow_it_with_their_header(caller: Caller, address: str) -> None:
    with web.Client(follow_redirects=True) as http:
        assert http.get(address, headers=caller.headers).content == b"made"
        head = http.head(address, headers=caller.headers)
    assert (head.status_code, head.headers["content-length"]) == (200, "4")
    for options in (["-L"], ["-L", "-I"]):
        header = f"Authorization: Bearer {caller.key}"
        command = ["curl", "-sf", *options, "--noproxy", "*", "-H", header, address]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert "made" in done.stdout or "200 OK" in done.stdout


@needs_chromium
def test_a_page_of_another_origin_fetches_it(caller: Caller, address: str, elsewhere: str) -> None:
    # As on AWS, the files have another origin than the API: the browser drops the header there.
    address = address.replace("//127.0.0.1", "//localhost")
    with a_browser() as browser:
        page = browser.new_page()
        page.goto(elsewhere)
        found = page.evaluate(_PAGE, [address, caller.key])
    assert found == {"file": "made", "followed": "made", "head": 200, "cache": "private, no-store"}
