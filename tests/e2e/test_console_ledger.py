"""The console's pages of usage, keys, owners and failures."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from dataclasses import replace

import pytest
from playwright.sync_api import Browser, Page, expect

from comfyline.client import Comfyline
from comfyline.contract.ids import OwnerId
from comfyline.service.access.authenticate import create_key
from comfyline.service.jobs.job import JobError
from localcloud.state import Endpoints
from tests.e2e.account import Account, now
from tests.e2e.console import HOSTILE, PHONE, a_page, assert_accessible, show, sign_in
from tests.support.browser import needs_chromium
from tests.support.builders import a_job, failed, succeeded

pytestmark = [pytest.mark.usefixtures("local", "console_packages"), needs_chromium]


class Maker:
    """An owner of its own, with a key for everything."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.owner = OwnerId("console-" + secrets.token_hex(4))
        _, self.key = create_key(
            self.owner,
            scopes=["jobs", "keys", "admin"],
            expires_at=None,
            keys=account.keys,
            clock=now,
            name="everything",
        )


@pytest.fixture(scope="module")
def maker(endpoints: Endpoints) -> Maker:
    return Maker(Account(endpoints))


@pytest.fixture
def signed_in(browser: Browser, endpoints: Endpoints, maker: Maker) -> Iterator[Page]:
    with a_page(browser, endpoints) as page:
        sign_in(page, maker.key)
        yield page


def test_usage_is_shown_by_month(signed_in: Page, maker: Maker) -> None:
    job = replace(succeeded(a_job(owner=maker.owner)), finished_at=now())
    maker.account.ledger.count([job])
    show(signed_in, "#/usage")
    rows = signed_in.get_by_role("region", name="By month").get_by_role("row")
    expect(rows).to_have_count(13)
    expect(rows.nth(1)).to_contain_text("1.3s")
    expect(signed_in.locator(".chart rect")).to_have_count(12)
    assert_accessible(signed_in)
    signed_in.set_viewport_size(PHONE)
    assert_accessible(signed_in)


def test_a_key_is_made_replaced_and_disabled(
    signed_in: Page, maker: Maker, endpoints: Endpoints
) -> None:
    page = signed_in
    show(page, "#/keys")
    keys = page.get_by_role("region", name="Keys of your owner")
    expect(keys.get_by_role("row")).to_have_count(2)
    page.get_by_label("Name", exact=True).fill("web shop")
    page.get_by_label("Active jobs", exact=True).fill("5")
    page.get_by_label("Confirm with your API key").fill(maker.key)
    assert_accessible(page)
    page.get_by_role("button", name="Make the key").click()
    made = page.get_by_label("Your new key").inner_text()
    with Comfyline(endpoints.api_url, made, "") as client:
        limits = client.me().limits
    assert limits is not None
    assert limits.max_active_jobs == 5
    assert_accessible(page)
    page.get_by_role("button", name="I have stored it").click()
    assert made not in page.content()
    expect(page.get_by_label("Confirm with your API key")).to_have_value("")
    shop = keys.get_by_role("row", name=re.compile("web shop"))
    shop.get_by_role("button", name="Rotate").click()
    page.get_by_label("Confirm with your API key").fill(maker.key)
    page.locator("form").get_by_role("button", name="Rotate").click()
    expect(keys.get_by_role("row")).to_have_count(4)
    shop.last.get_by_role("button", name="Disable").click()
    shop.last.get_by_role("button", name="Disable for good").click()
    expect(shop.last.get_by_text("Disabled")).to_be_visible()
    page.set_viewport_size(PHONE)
    assert_accessible(page)


def test_a_key_without_the_scope_is_told_how_to_get_one(
    browser: Browser, endpoints: Endpoints
) -> None:
    with a_page(browser, endpoints) as page:
        sign_in(page, endpoints.api_key)
        show(page, "#/keys")
        expect(page.get_by_text("--scope keys")).to_be_visible()
        assert_accessible(page)


def test_an_operator_limits_and_disables_keys_and_sees_what_fails(
    signed_in: Page, maker: Maker
) -> None:
    page, account = signed_in, maker.account
    victim = OwnerId("aaa-" + secrets.token_hex(4))
    create_key(
        victim, scopes=["jobs"], expires_at=None, keys=account.keys, clock=now, name=HOSTILE[:20]
    )
    show(page, "#/owners")
    section = page.get_by_role("region", name=victim, exact=True)
    section.get_by_text("Change", exact=True).click()
    section.get_by_label("Active jobs").fill("7")
    section.get_by_role("button", name="Save").click()
    expect(section.get_by_text("Active jobs: 7")).to_be_visible()
    assert_accessible(page)
    section.get_by_role("button", name="Disable").click()
    section.get_by_role("button", name="Disable for good").click()
    expect(section.get_by_text("Disabled")).to_be_visible()
    error = JobError(type="node_error", message="no", node_type=HOSTILE, engine_version="e" * 16)
    job = replace(failed(a_job(owner=maker.owner), error), finished_at=now())
    account.ledger.count([job])
    show(page, "#/trouble")
    expect(page.get_by_role("link", name=job.id)).to_be_visible()
    expect(page.get_by_text("onerror=alert(1)")).to_be_visible()
    assert_accessible(page)
    page.set_viewport_size(PHONE)
    assert_accessible(page)
