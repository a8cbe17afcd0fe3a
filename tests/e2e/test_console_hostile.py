"""Texts and files of jobs are hostile. The console shows them, and runs nothing of them."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import Page, expect

from comfyline.client import Comfyline
from localcloud.state import Endpoints
from tests.e2e.console import HOSTILE, WORKFLOWS, assert_accessible, sign_in
from tests.support.browser import needs_chromium

pytestmark = [pytest.mark.usefixtures("local", "console_packages"), needs_chromium]


def test_hostile_texts_and_files_are_inert(
    page: Page, client: Comfyline, endpoints: Endpoints
) -> None:
    graph = json.loads((WORKFLOWS / "empty_image.json").read_text())
    by_form = client.submit(HOSTILE, metadata={HOSTILE[:100]: HOSTILE}, steps=1)
    by_graph = client.submit(workflow=graph, metadata={"title": HOSTILE})
    for job in (by_form, by_graph):
        job.wait(60)
        page.goto(f"{page.url.split('#')[0]}#/jobs/{job.id}")
        expect(page.get_by_role("heading", name="{{7*7}}")).to_be_visible()
    page.goto(f"{page.url.split('#')[0]}#/jobs/{by_form.id}")
    hostile_view = {
        **json.loads(by_form.refresh().model_dump_json()),
        "error": {"type": HOSTILE, "message": HOSTILE, "node_id": HOSTILE, "node_type": HOSTILE},
    }
    svg = '<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    file = hostile_view["result"]["artifacts"][0]
    hostile_view["result"]["artifacts"] = [
        {**file, "number": 0, "name": HOSTILE, "content_type": "image/svg+xml"},
        {**file, "number": 1, "url": "javascript:alert(1)", "name": "script.png"},
        {**file, "number": 2, "content_type": "text/html", "name": "page.html"},
    ]
    page.route(file["url"], lambda route: route.fulfill(body=svg, content_type="image/svg+xml"))
    page.route(
        f"**/api/v1/jobs/{by_form.id}",
        lambda route: route.fulfill(json=hostile_view, headers={"x-request-id": "r"}),
    )
    page.get_by_role("button", name="Sign out").click()
    sign_in(page, endpoints.api_key, lands_on="{{7*7}}")
    expect(page.locator(".file")).to_have_count(3)
    assert page.locator("a[href^='javascript:'], [src^='javascript:']").count() == 0
    assert page.locator("main script, main iframe, main object, main embed").count() == 0
    assert_accessible(page)
