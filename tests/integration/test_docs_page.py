"""GET /docs in a browser: readable, and nothing is loaded from anywhere else."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Route, sync_playwright

from comfyline.contract.v1.openapi import OPERATIONS
from tests.support.gateway import Gateway

CHROMIUM = shutil.which("chromium")
URL = "http://api.test/docs"

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine"),
    pytest.mark.enable_socket,
]


@dataclass
class Visit:
    """An open page, what it asked for and what it complained about."""

    page: Page
    asked: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # Continuous integration runs as root, whom Chromium's sandbox refuses.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser, gateway: Gateway) -> Iterator[Visit]:
    """The page as the function serves it, with its headers; whatever else is asked for is not."""
    page = browser.new_page(viewport={"width": 1024, "height": 768})
    visit = Visit(page)

    def serve(route: Route) -> None:
        visit.asked.append(route.request.url)
        if route.request.url != URL:
            return route.abort()
        reply = gateway("GET", "/docs")
        return route.fulfill(status=reply.status, headers=dict(reply.headers), body=reply.text)

    def hear(message: ConsoleMessage) -> None:
        visit.complaints.append(message.text)

    page.route("**/*", serve)
    page.on("console", hear)
    page.on("pageerror", lambda error: visit.complaints.append(str(error)))
    page.goto(URL)
    yield visit
    page.close()


def test_it_lists_every_route_and_shows_one_when_asked(visit: Visit, tmp_path: Path) -> None:
    page = visit.page
    shown = [text.split() for text in page.locator("summary").all_inner_texts()]
    assert sorted((method, path) for method, path, *_ in shown) == sorted(OPERATIONS)
    submit = page.locator("#submitJob")
    status = submit.get_by_role("cell", name="202", exact=True)
    assert not status.is_visible()
    submit.locator("summary").click()
    assert status.is_visible()
    assert "a red fox in the snow" in submit.inner_text()
    page.screenshot(path=tmp_path / "docs.png")


def test_a_schema_is_one_click_away(visit: Visit) -> None:
    page = visit.page
    page.locator("#getJob summary").click()
    page.locator("#getJob").get_by_role("link", name="JobView").click()
    assert page.url == f"{URL}#JobView"
    heading = page.get_by_role("heading", name="JobView", exact=True)
    assert heading.evaluate("one => Math.abs(one.getBoundingClientRect().top) < innerHeight")


def test_it_loads_nothing_from_elsewhere_and_complains_of_nothing(visit: Visit) -> None:
    visit.page.locator("summary").first.click()
    visit.page.wait_for_load_state("networkidle")
    assert [url for url in visit.asked if url != URL] == []
    assert visit.complaints == []


def test_it_fits_a_phone(visit: Visit) -> None:
    visit.page.set_viewport_size({"width": 390, "height": 844})
    for summary in visit.page.locator("summary").all():
        summary.click()
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert visit.page.evaluate(wide) == 0
