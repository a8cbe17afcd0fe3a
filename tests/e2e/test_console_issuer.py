"""A person signs in at the console with an account of the deployment's issuer, in a browser.

The deployment file of the local cloud names no issuer, because nobody would run one. So the test
gives the functions the setting that such a file would give them, and takes it away at its end.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from localcloud.sign_in import console_of
from localcloud.state import Endpoints
from tests.e2e.account import Account
from tests.e2e.console import a_page, assert_accessible, connection_of, post
from tests.support.browser import needs_chromium
from tests.support.issuer import CLIENT, Provider, a_provider

pytestmark = [pytest.mark.usefixtures("local"), needs_chromium]

FETCHED = """url => fetch(url, { headers: { Accept: "application/json" } }).then(r => r.status)"""
FOREIGN_ANSWER = "?code=stolen&state=guessed"
FIND_CALLERS = ("AuthorizeHttp", "AuthorizeSocket", "Sessions", "GetArtifact", "ShowConsole")


@pytest.fixture
def provider(endpoints: Endpoints) -> Iterator[Provider]:
    """The issuer of the deployment, which knows Ada."""
    account = Account(endpoints)
    with a_provider() as provider:
        provider.knows("ada", email="ada@example.com", groups=["staff"])
        rules = {
            "issuer": provider.url,
            "client_id": CLIENT,
            "scope": "openid email",
            "scopes_claim": "groups",
            "scopes": {"staff": "jobs"},
            "page_origins": [provider.url],
        }
        _set(account, json.dumps(rules))
        yield provider
        _set(account, "")


def _set(account: Account, rules: str) -> None:
    client = account.emulator.client("lambda")
    for name in FIND_CALLERS:
        function = account.physical_id("api", f"{name}Function")
        known = client.get_function_configuration(FunctionName=function)["Environment"]["Variables"]
        client.update_function_configuration(
            FunctionName=function, Environment={"Variables": {**known, "SIGN_IN": rules}}
        )


def test_a_person_signs_in_at_the_issuer(
    browser: Browser, endpoints: Endpoints, provider: Provider
) -> None:
    with a_page(browser, endpoints) as page:
        expect(page.get_by_role("button", name="Sign in with your organisation")).to_be_visible()
        assert_accessible(page)
        page.get_by_role("button", name="Sign in with your organisation").click()
        page.wait_for_url(f"{provider.url}/**")
        page.locator("input[name=sub]").fill("ada")
        page.locator("button[type=submit], input[type=submit]").first.click()
        expect(page.get_by_role("heading", name="Jobs", level=1)).to_be_visible()
        assert page.url.startswith(console_of(endpoints))
        assert "code=" not in page.url
        expect(page.get_by_text("sso.ada")).to_be_visible()
        expect(connection_of(page)).to_have_text("Live")
        post(page, "a loom")
        expect(page.locator(".badge", has_text="Done")).to_be_visible()
        link = page.get_by_role("link", name="Download").first.get_attribute("href")
        assert page.evaluate(FETCHED, link) == 200  # by the cookie, without a header
        page.goto(f"{console_of(endpoints)}{FOREIGN_ANSWER}")
        expect(page.get_by_role("heading", name="Jobs", level=1)).to_be_visible()
        assert "code=" not in page.url


def test_a_person_without_a_group_is_refused(
    browser: Browser, endpoints: Endpoints, provider: Provider
) -> None:
    with a_page(browser, endpoints) as page:
        page.get_by_role("button", name="Sign in with your organisation").click()
        page.wait_for_url(f"{provider.url}/**")
        page.locator("input[name=sub]").fill("mallory")
        page.locator("button[type=submit], input[type=submit]").first.click()
        expect(page.get_by_role("alert")).to_contain_text("you may not use this service")
        page.goto(f"{console_of(endpoints)}{FOREIGN_ANSWER}")
        expect(page.get_by_role("alert")).to_contain_text("was not completed")
