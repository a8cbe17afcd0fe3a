"""The web console in a browser: what its tests share.

A violation of the page's Content-Security-Policy and an error of a script fail every test.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Browser, Locator, Page, Route, expect

from comfyline.client import Comfyline
from localcloud.state import ROOT, Endpoints
from tests.support.eventually import WITHIN

AXE = ROOT / "console" / "node_modules" / "axe-core" / "axe.min.js"
WORKFLOWS = ROOT / "tests" / "recordings" / "workflows"
SOON_MS = 1_000 * WITHIN
JOBS_ON_A_PAGE = 2_500
PHONE, DESKTOP, WALL = (
    {"width": 360, "height": 740},
    {"width": 1280, "height": 900},
    {"width": 2560, "height": 1300},
)
HOSTILE = "<img src=x onerror=alert(1)><script>alert(1)</script>\u202e{{7*7}}"


@contextmanager
def a_page(browser: Browser, endpoints: Endpoints, at: str = "", **options: Any) -> Iterator[Page]:
    """The sign-in page, or the one at this fragment. At the end, nothing may have complained."""
    complaints: list[str] = []
    context = browser.new_context(**{"viewport": DESKTOP, "locale": "en-GB", **options})
    page = context.new_page()
    page.set_default_timeout(SOON_MS)
    expect.set_options(timeout=SOON_MS)
    page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
    page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
    page.on(
        "console",
        lambda message: complaints.append(message.text) if is_fault(message.text) else None,
    )
    page.goto(f"{endpoints.api_url}/console{at}")
    yield page
    context.close()
    assert complaints == []


def is_fault(text: str) -> bool:
    return any(word in text for word in ("Content Security Policy", "TrustedScript", "Uncaught"))


def sign_in(page: Page, key: str, *, lands_on: str = "Jobs") -> None:
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name=lands_on, level=1)).to_be_visible()


def connection_of(page: Page) -> Locator:
    """What the page says of its connection. The state of the service is told elsewhere."""
    return page.locator("p[role=status]")


def show(page: Page, fragment: str) -> None:
    """Show that page of the console, as a link does."""
    page.evaluate("fragment => { location.hash = fragment }", fragment)


def assert_accessible(page: Page) -> None:
    """Axe finds nothing, and nothing needs to be scrolled sideways."""
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    assert [(each["id"], each["nodes"][0]["html"][:200]) for each in found] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def post(page: Page, prompt: str, steps: int = 4) -> None:
    page.get_by_role("link", name="New job").first.click()
    page.get_by_label("Prompt", exact=True).fill(prompt)
    page.get_by_label("Steps").fill(str(steps))
    page.get_by_role("button", name="Start the job").click()
    expect(page.get_by_role("heading", name=prompt)).to_be_visible()


def a_view(client: Comfyline, **changed: Any) -> dict[str, Any]:
    """A job as lists show it."""
    job = client.submit("a template", steps=1)
    return {**json.loads(job.wait(60).model_dump_json()), "result": None, **changed}


def answers_with(page: Page, views: list[dict[str, Any]]) -> None:
    """Let the list of jobs with the state `expired` have these jobs."""

    def answer(route: Route) -> None:
        query = parse_qs(urlsplit(route.request.url).query)
        if query.get("status") != ["expired"]:
            return route.continue_()
        start = int(query.get("cursor", ["0"])[0])
        end = start + JOBS_ON_A_PAGE
        cursor = str(end) if end < len(views) else None
        return route.fulfill(json={"jobs": views[start:end], "next_cursor": cursor})

    page.route("**/api/v1/jobs?*", answer)
