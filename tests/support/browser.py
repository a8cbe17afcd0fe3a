"""The browser of this machine, for tests of web pages."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from playwright import async_api
from playwright.sync_api import Browser, sync_playwright

CHROMIUM = shutil.which("chromium")
_FLAGS = ("no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-sync")
_QUIET = ("disable-background-networking", "disable-component-update")

# Continuous integration runs as root, and Chromium's sandbox refuses root.
LAUNCH: dict[str, Any] = {
    "executable_path": CHROMIUM,
    "args": [f"--{flag}" for flag in (*_FLAGS, *_QUIET)],
}

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine")


@contextmanager
def a_browser() -> Iterator[Browser]:
    """A running browser, until the block ends."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(**LAUNCH)
        yield browser
        browser.close()


@asynccontextmanager
async def a_browser_beside() -> AsyncIterator[async_api.Browser]:
    """The same for tests that do other things while the page runs."""
    async with async_api.async_playwright() as playwright:
        browser = await playwright.chromium.launch(**LAUNCH)
        yield browser
        await browser.close()
