"""The console's list of jobs: thousands of cards, thumbnails, and jobs that are followed by id."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, WebSocketRoute, expect

from comfyline.client import Comfyline
from comfyline.contract.ids import random_job_id
from localcloud.state import Endpoints
from tests.e2e.console import a_page, a_view, answers_with, assert_accessible, show, sign_in
from tests.support.browser import needs_chromium
from tests.support.eventually import eventually_now

pytestmark = [pytest.mark.usefixtures("local", "console_packages"), needs_chromium]

MANY = 10_000
MOST_ELEMENTS = 1_000
# Measured: 120 steps over 10,000 cards in 5 s, a step in 21 ms (median).
SCROLL = """async steps => {
  const times = [];
  for (let step = 1; step <= steps; step++) {
    const began = performance.now();
    scrollTo(0, document.documentElement.scrollHeight * step / steps);
    await new Promise(requestAnimationFrame);
    times.push(performance.now() - began);
  }
  return times.sort((a, b) => a - b)[steps / 2];
}"""


def test_thousands_of_cards_are_scrolled_and_few_are_on_the_page(
    page: Page, client: Comfyline
) -> None:
    view = a_view(client, status="failed")
    ids = (f"job_{n:026d}" for n in range(MANY))
    answers_with(
        page,
        [{**view, "job_id": i, "params": {"prompt": f"fox {n}"}} for n, i in enumerate(ids)],
    )
    show(page, "#/?status=expired")
    cards = page.locator(".gallery li")

    def all_loaded() -> bool:
        page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
        return cards.first.get_attribute("aria-setsize") == str(MANY)

    expect(cards.first).to_be_visible()
    eventually_now(all_loaded)
    page.evaluate("scrollTo(0, 0)")
    expect(page.get_by_role("link", name="fox 0", exact=True)).to_be_visible()
    assert page.evaluate(SCROLL, 60) < 500  # ms
    expect(page.get_by_role("link", name="fox 9999")).to_be_visible()
    assert page.evaluate("document.querySelectorAll('*').length") < MOST_ELEMENTS
    assert_accessible(page)


def test_a_job_beyond_the_newest_is_followed_while_its_card_is_shown(
    browser: Browser, endpoints: Endpoints, client: Comfyline
) -> None:
    job_id = random_job_id(datetime.now(UTC))
    heard: list[dict[str, Any]] = []

    def between(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()

        def from_page(text: str | bytes) -> None:
            message = json.loads(text)
            heard.append(message)
            if message.get("job_id") != job_id:
                return server.send(text)
            if message["action"] == "subscribe":
                news = {"type": "progress", "job_id": job_id, "version": 99, "part": 0}
                socket.send(json.dumps({**news, "progress": 0.5, "message": "step 15/30"}))
            return None

        socket.on_message(from_page)

    with a_page(browser, endpoints) as page:
        page.route_web_socket(re.compile(".*ticket=.*"), between)
        sign_in(page, endpoints.api_key)
        answers_with(page, [a_view(client, job_id=job_id, status="running", version=5)])
        show(page, "#/?status=expired")
        expect(page.locator(".card")).to_contain_text("step 15/30")
        show(page, "#/usage")
        left = {"action": "unsubscribe", "job_id": job_id}
        eventually_now(lambda: page.evaluate("1") and left in heard)
        assert [m["action"] for m in heard if m.get("job_id")] == ["subscribe", "unsubscribe"]


def test_a_card_shows_the_thumbnail_and_reads_no_job(page: Page, client: Comfyline) -> None:
    job = client.submit("a marmot", steps=1, batch_size=2)
    job.wait(60)
    eventually_now(lambda: job.refresh().thumbnail is not None)
    view = {**json.loads(job.refresh().model_dump_json()), "result": None}
    # Lists lose a job that does not belong to them, so the page must not know these ids.
    good, bad = (random_job_id(datetime.now(UTC)) for _ in range(2))
    ended = {**view["thumbnail"], "url": view["thumbnail"]["url"].split("?")[0] + ".gone"}
    answers_with(page, [{**view, "job_id": good}, {**view, "job_id": bad, "thumbnail": ended}])
    page.route(f"**/jobs/{bad}", lambda route: route.fulfill(json={**view, "job_id": bad}))
    reads: list[str] = []
    page.on("request", lambda request: reads.append(request.url))
    show(page, "#/?status=expired")
    pictures = page.locator(".thumbnail img")
    expect(pictures).to_have_count(2)
    for picture in pictures.all():  # the second card reads its job, because its URL has ended
        expect(picture).to_have_js_property("naturalWidth", 512)
    assert pictures.first.get_attribute("width") == "512"
    expect(page.locator(".count").first).to_have_text("2 files")
    assert not any(url.endswith(good) for url in reads)
    show(page, f"#/jobs/{job.id}")
    page.get_by_role("button", name="Again with another seed").click()
    expect(page.locator("code", has_text=job.id)).to_have_count(0)
    expect(page.get_by_role("heading", name="a marmot")).to_be_visible()
