"""The browser of this machine, for tests of web pages."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

CHROMIUM = shutil.which("chromium")
_FLAGS = ("no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-sync")
_QUIET = ("disable-background-networking", "disable-component-update")

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine")


@contextmanager
def a_browser() -> Iterator[Browser]:
    """A running browser, until the block ends."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            # Continuous integration runs as root, and Chromium's sandbox refuses root.
            executable_path=CHROMIUM,
            args=[f"--{flag}" for flag in (*_FLAGS, *_QUIET)],
        )
        yield browser
        browser.close()
