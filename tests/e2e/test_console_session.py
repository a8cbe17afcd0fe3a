"""Sessions of the console: sign-in, reload, sign-out, other owners, and lost connections."""

from __future__ import annotations

import re
import secrets
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from comfyline.client import Comfyline
from comfyline.contract.ids import KeyId, OwnerId
from comfyline.service.access.authenticate import disable_key
from localcloud.sign_in import console_of, sign_in_link
from localcloud.state import Endpoints
from tests.e2e.account import Account, now
from tests.e2e.console import a_page, connection_of, show, sign_in
from tests.support.browser import needs_chromium

pytestmark = [pytest.mark.usefixtures("local", "console_packages"), needs_chromium]


def test_a_session_is_kept_by_a_reload_shared_by_tabs_and_ended_for_all(
    browser: Browser, endpoints: Endpoints
) -> None:
    with a_page(browser, endpoints) as page:
        page.get_by_label("API key").fill("cl_0123456789abcdef_" + "x" * 43)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_contain_text("does not accept this key")
        sign_in(page, endpoints.api_key)
        page.reload()
        expect(page.get_by_role("heading", name="Jobs")).to_be_visible()
        assert endpoints.api_key not in page.evaluate("JSON.stringify({...localStorage})")
        assert page.evaluate("document.cookie") == ""
        other = page.context.new_page()
        other.goto(page.url)
        expect(other.get_by_role("heading", name="Jobs")).to_be_visible()
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_label("API key")).to_be_visible()
        expect(other.get_by_label("API key")).to_be_visible()
        assert page.context.cookies(f"{endpoints.api_url}/api/v1/sessions") == []


def test_a_key_that_ends_leads_to_the_sign_in(browser: Browser, endpoints: Endpoints) -> None:
    account, owner = Account(endpoints), OwnerId("leaver-" + secrets.token_hex(4))
    text = account.new_key(owner)
    with a_page(browser, endpoints) as page:
        sign_in(page, text)
        disable_key(KeyId(text.split("_")[1]), keys=account.keys, clock=now)
        page.reload()
        expect(page.get_by_role("alert")).to_contain_text("its key is no longer valid")
        page.reload()
        expect(page.locator("#key-trouble")).to_be_empty()


def test_a_key_is_signed_out_everywhere(browser: Browser, endpoints: Endpoints) -> None:
    text = Account(endpoints).new_key(OwnerId("traveller-" + secrets.token_hex(4)))
    with a_page(browser, endpoints) as here, a_page(browser, endpoints) as elsewhere:
        sign_in(here, text)
        sign_in(elsewhere, text)
        show(here, "#/keys")
        here.get_by_role("button", name="Sign out everywhere").click()
        expect(here.get_by_label("API key")).to_be_visible()
        elsewhere.reload()
        expect(elsewhere.get_by_label("API key")).to_be_visible()


def test_a_link_signs_in_once_and_leaves_no_code_behind(
    browser: Browser, endpoints: Endpoints
) -> None:
    fragment = sign_in_link(endpoints).removeprefix(console_of(endpoints))
    with a_page(browser, endpoints, at=fragment) as page:
        expect(page.get_by_role("heading", name="Jobs")).to_be_visible()
        assert page.url == f"{console_of(endpoints)}#/"
    with a_page(browser, endpoints, at=fragment) as page:
        expect(page.get_by_role("alert")).to_contain_text("has been used or is too old")


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
        expect(connection_of(page)).to_have_text("Live")
        page.context.set_offline(True)
        sockets[0].close()
        expect(page.get_by_text("Not live")).to_be_visible()
        page.context.set_offline(False)
        expect(connection_of(page)).to_have_text("Live")
