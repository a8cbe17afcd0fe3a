"""Whom the console lets in, what it shows to whom, and what it says when the service is away."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from comfyline.client import Comfyline
from localcloud.state import Endpoints
from tests.e2e.console import a_page, sign_in
from tests.support.browser import needs_chromium

pytestmark = [pytest.mark.usefixtures("local", "console_packages"), needs_chromium]


def test_a_wrong_key_and_a_key_that_ends_are_told(browser: Browser, endpoints: Endpoints) -> None:
    with a_page(browser, endpoints) as page:
        page.get_by_label("API key").fill("cl_0123456789abcdef_" + "x" * 43)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_contain_text("does not accept this key")
        sign_in(page, endpoints.api_key)
        problem = {"type": "urn:comfyline:problem:unauthorized", "title": "t", "status": 401}
        page.route(
            "**/api/v1/usage",
            lambda route: route.fulfill(
                status=401, json={**problem, "detail": "d", "code": "unauthorized"}
            ),
        )
        page.get_by_role("link", name="Usage").click()
        expect(page.get_by_role("alert")).to_contain_text("no longer valid")


def test_another_owner_sees_nothing_of_it(
    browser: Browser, endpoints: Endpoints, client: Comfyline
) -> None:
    job = client.submit("a secret otter", steps=1)
    job.wait(60)
    with a_page(browser, endpoints) as page:
        sign_in(page, endpoints.second_api_key)
        expect(page.get_by_text("a secret otter")).to_have_count(0)
        page.goto(f"{page.url.split('#')[0]}#/jobs/{job.id}")
        expect(page.get_by_text("There is no such job")).to_be_visible()


def test_it_tells_when_the_connection_is_lost_and_when_it_is_back(
    browser: Browser, endpoints: Endpoints
) -> None:
    with a_page(browser, endpoints) as page:
        sockets: list[Any] = []
        page.route_web_socket(
            re.compile(".*ticket=.*"), lambda ws: sockets.append(ws.connect_to_server())
        )
        sign_in(page, endpoints.api_key)
        expect(page.get_by_role("status")).to_have_text("Live")
        page.context.set_offline(True)
        sockets[0].close()
        expect(page.get_by_text("Not live")).to_be_visible()
        page.context.set_offline(False)
        expect(page.get_by_role("status")).to_have_text("Live")
