"""The workflow of a job as a picture with the progress on it. Any graph is drawn, or left out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from comfyline.client import Comfyline
from tests.e2e.console import HOSTILE, assert_accessible, post, show
from tests.support.browser import needs_chromium

pytestmark = [pytest.mark.usefixtures("local", "console_packages"), needs_chromium]

MOST_LINKS = 5_000  # that the page draws


def states(page: Page) -> dict[str, int]:
    """How many nodes are drawn in each state."""
    classes = page.locator(".graph-picture .node").evaluate_all(
        "all => all.map(n => n.classList[1])"
    )
    return {state: classes.count(state) for state in classes}


def test_the_picture_follows_the_job_and_is_used_by_keyboard(page: Page) -> None:
    post(page, "a stoat in the reeds", steps=150)
    picture = page.locator(".graph-picture")
    page.locator("#graph").scroll_into_view_if_needed()
    expect(page.locator(".node.running")).to_contain_text("KSampler")
    assert states(page) == {"done": 4, "running": 1, "waiting": 2}
    picture.focus()
    before = picture.get_attribute("viewBox")
    page.keyboard.press("+")
    page.keyboard.press("ArrowRight")
    expect(picture).not_to_have_attribute("viewBox", before or "")
    page.keyboard.press("0")
    expect(picture).to_have_attribute("viewBox", before or "")
    box = picture.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 200, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 100, box["y"] + 60)
    page.mouse.up()
    expect(picture).not_to_have_attribute("viewBox", before or "")
    page.get_by_text("Nodes as a list").click()
    expect(page.locator(".nodes li", has_text="5 KSampler")).to_contain_text("runs")
    assert_accessible(page)
    expect(page.locator(".badge", has_text="Done")).to_be_visible()
    expect(page.locator(".node.done")).to_have_count(7)


def node(*sources: str, title: str = "t") -> dict[str, Any]:
    inputs = {f"in{n}": [source, 0] for n, source in enumerate(sources)}
    return {"class_type": HOSTILE, "inputs": inputs, "_meta": {"title": title}}


LONG = "x" * 100_000
HOSTILE_GRAPHS = {
    "names": {
        "__proto__": node("constructor", title=HOSTILE),
        "constructor": node("toString", "__proto__", title=LONG),
        "toString": {"class_type": None, "inputs": [["__proto__", 0]]},
        "nothing": None,
        "text": "text",
    },
    "circle": {str(n): node(str((n + 1) % 150), str((n + 7) % 150)) for n in range(150)},
    "many": {str(n): node(*(str(m) for m in range(max(0, n - 3), n))) for n in range(3_000)},
    "many links": {str(n): node(*(str(m) for m in range(80))) for n in range(1_000)},
    "all to all": {str(n): node(*(str(m) for m in range(200))) for n in range(200)},
}


def show_graph(page: Page, client: Comfyline, graph: Any, size: int) -> None:
    """The page of a new job, which has that graph. The page keeps the graphs that it has read."""
    job = client.submit("an inert graph", steps=1)
    job.wait(60)
    body = {"job_id": job.id, "workflow": graph, "bytes": size}
    page.route(f"**/jobs/{job.id}/graph", lambda route: route.fulfill(json=body))
    show(page, f"#/jobs/{job.id}")
    page.locator("#graph").scroll_into_view_if_needed()


def test_any_graph_is_drawn_soon_and_runs_nothing(page: Page, client: Comfyline) -> None:
    for name, graph in HOSTILE_GRAPHS.items():
        show_graph(page, client, graph, len(json.dumps(graph)))
        drawn = page.locator(".graph-picture .node")
        expect(drawn).to_have_count(min(len(graph), 1_000))
        assert page.locator(".graph-picture .link").count() <= MOST_LINKS
        titles = page.locator(".graph-picture title")
        assert max(map(len, titles.all_text_contents())) < 400
        if name == "names":
            expect(drawn.first).to_contain_text("<img src=x")
            assert_accessible(page)
    show_graph(page, client, None, 2_000_000)
    expect(page.get_by_text("too large to be shown")).to_be_visible()
