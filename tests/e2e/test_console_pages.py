"""Every page of the console: accessible in each size and colour scheme, by keyboard, and small."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from localcloud.state import Endpoints
from tests.e2e.console import DESKTOP, PHONE, WALL, WORKFLOWS, a_page, assert_accessible, sign_in
from tests.support.browser import needs_chromium

FIRST_LOAD_BYTES = 250_000  # compressed

pytestmark = [pytest.mark.usefixtures("local", "console_packages"), needs_chromium]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [PHONE, DESKTOP, WALL], ids=["phone", "desktop", "wall"])
def test_every_page_is_accessible_at_every_size(
    browser: Browser, endpoints: Endpoints, scheme: str, viewport: dict[str, int]
) -> None:
    with a_page(browser, endpoints, color_scheme=scheme, viewport=viewport) as page:
        assert_accessible(page)
        sign_in(page, endpoints.api_key)
        assert_accessible(page)
        page.get_by_role("link", name="New job").first.click()
        expect(page.get_by_label("Prompt", exact=True)).to_be_visible()
        assert_accessible(page)
        page.get_by_role("tab", name="Workflow").click()
        chosen = page.locator("input[type=file]").first
        chosen.set_input_files(WORKFLOWS / "load_uploaded_image.json")
        expect(page.get_by_text("Input files")).to_be_visible()
        assert_accessible(page)
        if (menu := page.get_by_role("button", name="Menu")).is_visible():
            menu.click()
            assert_accessible(page)
        page.get_by_role("link", name="Usage").click()
        expect(page.get_by_text("GPU time").first).to_be_visible()
        assert_accessible(page)


def test_it_is_used_by_keyboard_and_in_german(browser: Browser, endpoints: Endpoints) -> None:
    with a_page(browser, endpoints, locale="de-DE") as page:
        expect(page.get_by_label("API-Schlüssel")).to_be_focused()
        page.keyboard.type(endpoints.api_key)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Jobs")).to_be_visible()
        assert page.evaluate("document.documentElement.lang") == "de"
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Zum Inhalt springen")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("main")).to_be_focused()


def test_the_first_load_is_small_and_from_one_place(browser: Browser, endpoints: Endpoints) -> None:
    context = browser.new_context()
    page = context.new_page()
    loaded: list[tuple[str, int]] = []
    page.on("requestfinished", lambda r: loaded.append((r.url, r.sizes()["responseBodySize"])))
    page.goto(f"{endpoints.api_url}/console", wait_until="networkidle")
    context.close()
    places = tuple(f"{endpoints.api_url}{path}" for path in ("/console", "/api/v1/sign-in"))
    assert all(url.startswith(places) for url, _ in loaded), loaded
    assert len(loaded) >= 3
    assert sum(size for _, size in loaded) < FIRST_LOAD_BYTES


def test_the_form_appears_before_the_api_answers(browser: Browser, endpoints: Endpoints) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.route("**/api/**", lambda _route: None)  # no answer ever comes
    page.goto(f"{endpoints.api_url}/console", wait_until="commit")
    expect(page.get_by_label("API key")).to_be_visible()
    context.close()
