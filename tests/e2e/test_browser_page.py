"""The whole page of docs/guides/browser.md, in Chromium and against the deployed service."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page

from comfyline.client import Comfyline
from localcloud.state import ROOT, Endpoints, free_port
from tests.support import web
from tests.support.browser import a_browser, needs_chromium
from tests.support.eventually import eventually_now

PAGE = (ROOT / "docs" / "guides" / "browser.md").read_text()


def block(language: str, number: int = 0) -> str:
    """A code block of the page."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)[number]


@pytest.fixture
def backend(endpoints: Endpoints, tmp_path: Path) -> Iterator[str]:
    """The address of the page's backend."""
    page, script, port = tmp_path / "page.html", tmp_path / "backend.py", free_port()
    page.write_text(block("html").replace("COMFYLINE_URL", endpoints.api_url))
    script.write_text(block("python"))
    environ = {**os.environ, "PAGE": str(page), "PORT": str(port), "PYTHONPATH": str(ROOT)}
    environ |= {"COMFYLINE_URL": endpoints.api_url, "COMFYLINE_API_KEY": endpoints.api_key}
    process = subprocess.Popen([sys.executable, str(script)], env=environ, stderr=subprocess.PIPE)
    url = f"http://127.0.0.1:{port}/"
    try:
        eventually_now(lambda: _answers(url))
        yield url
    finally:
        process.terminate()
        process.communicate(timeout=10)


def _answers(url: str) -> bool:
    try:
        return web.get(url).is_success
    except httpx.TransportError:
        return False


def drawn(page: Page, url: str) -> int:
    """Open the page, click its button, and return the width of the picture that appears."""
    page.goto(url)
    page.get_by_role("button").click()
    page.wait_for_function("document.querySelector('img').naturalWidth > 0", timeout=40_000)
    width: int = page.evaluate("document.querySelector('img').naturalWidth")
    return width


@needs_chromium
def test_the_page_draws_with_its_backend(backend: str) -> None:
    with a_browser() as browser:
        assert drawn(browser.new_page(), backend) == 64


@needs_chromium
def test_the_page_without_a_backend_takes_a_pasted_token(
    endpoints: Endpoints, tmp_path: Path
) -> None:
    """The page is opened from a file. It asks again after a token that is not valid."""
    page = block("html").replace("COMFYLINE_URL", endpoints.api_url)
    (with_backend,) = [line for line in page.splitlines() if "const newToken" in line]
    file = tmp_path / "page.html"
    file.write_text(page.replace(with_backend.strip(), block("js").strip()))
    with Comfyline(url=endpoints.api_url, api_key=endpoints.api_key) as client:
        token = client.create_token("alice@example.com", expires_in=3600).token
    with a_browser() as browser:
        tab, pasted = browser.new_page(), iter(["expired", token])
        tab.on("dialog", lambda dialog: dialog.accept(next(pasted)))
        assert drawn(tab, file.as_uri()) == 64
