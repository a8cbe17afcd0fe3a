"""The console's pages for operators against the local deployment: the story of a night."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from comfyline.client import Comfyline
from comfyline.contract.ids import OwnerId
from comfyline.service.access.authenticate import create_key
from localcloud.state import Endpoints
from tests.e2e.account import Account, now
from tests.e2e.console import HOSTILE, PHONE, a_page, assert_accessible, show, sign_in
from tests.e2e.smokes_admin import unattended
from tests.support import web
from tests.support.browser import a_browser, needs_chromium
from tests.support.eventually import eventually_now

pytestmark = [pytest.mark.usefixtures("local", "console_packages"), needs_chromium]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with a_browser() as browser:
        yield browser


@pytest.fixture
def account(endpoints: Endpoints) -> Account:
    return Account(endpoints)


def new_key(account: Account, *scopes: str) -> str:
    """A key of a new owner. No authorizer has cached anything of it."""
    owner = OwnerId("night-" + secrets.token_hex(4))
    _, key = create_key(owner, scopes=scopes, expires_at=None, keys=account.keys, clock=now)
    return key


@pytest.fixture
def operator_key(account: Account) -> str:
    """A key that may see everything, and post jobs."""
    return new_key(account, "jobs", "admin")


def test_an_operator_ends_the_sessions_of_an_owner(
    browser: Browser, endpoints: Endpoints, account: Account, operator_key: str
) -> None:
    owner = OwnerId("dismissed-" + secrets.token_hex(4))
    with a_page(browser, endpoints) as page, a_page(browser, endpoints) as theirs:
        sign_in(theirs, account.new_key(owner))
        sign_in(page, operator_key)
        show(page, "#/owners")
        page.get_by_label("Owner or person").fill(owner)
        page.get_by_role("button", name="End sessions").click()
        expect(page.get_by_text(f"Ended sessions of {owner}: 1")).to_be_visible()
        theirs.reload()
        expect(theirs.get_by_label("API key")).to_be_visible()


def test_a_job_is_seen_with_its_worker(
    browser: Browser, endpoints: Endpoints, client: Comfyline, operator_key: str
) -> None:
    with a_page(browser, endpoints) as page:
        sign_in(page, operator_key)
        job = client.submit("a heron at night", steps=1000)
        page.get_by_role("link", name="Now").click()
        expect(page.get_by_role("heading", name="Now", level=1)).to_be_visible()
        page.get_by_label("Show").select_option("running")
        jobs = page.get_by_role("region", name="Jobs of all owners that have not ended")
        line = jobs.get_by_role("row").filter(has_text=job.id)
        expect(line).to_contain_text("wrk_")
        expect(line).to_contain_text("Running")
        workers = page.get_by_role("region", name="Workers").get_by_role("table")
        expect(workers.get_by_role("row").filter(has_text=job.id)).to_contain_text("Busy")
        expect(page.get_by_role("table").first).to_contain_text("Normal")
        assert_accessible(page)
        job.cancel()
        expect(line).to_have_count(0)


def test_a_pause_is_told_to_every_user_until_it_is_over(
    browser: Browser, endpoints: Endpoints, operator_key: str, account: Account
) -> None:
    """Every look is one of a new key, because authorizers keep what they know of a key for 30 s."""
    with a_page(browser, endpoints) as page:
        sign_in(page, operator_key)
        try:
            pause(page)
            eventually_now(lambda: posted(account) == 503)
            with a_page(browser, endpoints) as user:
                sign_in(user, new_key(account, "jobs"))
                expect(user.get_by_text("An operator has paused the service")).to_be_visible()
                assert_accessible(user)
            resume(page)
        finally:
            account.keys.switch({"jobs_enabled": True}, now())
        eventually_now(lambda: posted(account) == 202)


def pause(page: Page) -> None:
    page.get_by_role("link", name="Switches").click()
    page.get_by_role("button", name="Pause new jobs").click()
    question = page.get_by_role("group", name="Do this for all users?")
    assert_accessible(page)
    question.get_by_role("button", name="Pause new jobs").click()
    expect(page.get_by_role("button", name="Resume new jobs")).to_be_visible()


def resume(page: Page) -> None:
    page.get_by_role("button", name="Resume new jobs").click()
    page.get_by_role("group").get_by_role("button", name="Resume new jobs").click()
    expect(page.get_by_role("button", name="Pause new jobs")).to_be_visible()


def posted(account: Account) -> int:
    """The status of a post of a job by a new owner."""
    headers = {"Authorization": f"Bearer {new_key(account, 'jobs')}"}
    body = {"prompt": "a moth", "steps": 1}
    url = f"{account.endpoints.api_url}/api/v1/jobs"
    with web.Client() as http:
        return http.post(url, json=body, headers=headers).status_code


def test_a_dead_letter_is_shown_and_redriven(
    browser: Browser, endpoints: Endpoints, operator_key: str, account: Account
) -> None:
    job = account.seeded(OwnerId("owl-" + secrets.token_hex(4)))
    with unattended(account), a_page(browser, endpoints) as page:
        body = json.dumps({"schema": 1, "job_id": job.id})
        url = endpoints.outputs["DeadLetterQueueUrl"]
        account.emulator.client("sqs").send_message(QueueUrl=url, MessageBody=body)
        sign_in(page, operator_key)
        page.get_by_role("link", name="Trouble").click()
        line = page.get_by_role("row").filter(has_text=job.id)
        expect(line).to_contain_text("Waiting")
        expect(page.get_by_text("This deployment has no alarms.")).to_be_visible()
        expect(page.get_by_text("comfyline admin --stage local audit")).to_be_visible()
        assert_accessible(page)
        page.get_by_role("button", name="Send live jobs again").click()
        expect(page.get_by_text("1 jobs sent again, 0 tickets dropped.")).to_be_visible()
        expect(line).to_have_count(0)
    eventually_now(lambda: account.jobs.get(job.id).attempt > 0)  # type: ignore[union-attr]


def test_alarms_tell_what_to_do_and_hostile_texts_are_inert(
    browser: Browser, endpoints: Endpoints, operator_key: str
) -> None:
    since = now().isoformat()
    alarms = {
        "stage": "prod",
        "watched": True,
        "alarms": [
            {"name": "workers-crash", "description": HOSTILE, "state": "raised", "since": since},
            {"name": HOSTILE, "description": "It rings.", "state": "raised", "since": since},
            {"name": "jobs-fail", "description": "Jobs fail.", "state": "ok", "since": since},
        ],
    }
    letter = {"message_id": "m", "text": HOSTILE, "sent_at": since, "received": 3, "owner": HOSTILE}
    letters = {"dead_letters": [letter], "depth": {"waiting": 1, "in_flight": 2}}
    with a_page(browser, endpoints, viewport=PHONE, color_scheme="dark") as page:
        sign_in(page, operator_key)
        page.route("**/admin/alarms", lambda route: route.fulfill(json=alarms))
        page.route("**/admin/dead-letters", lambda route: route.fulfill(json=letters))
        show(page, "#/trouble")
        page.get_by_text("What to do").first.click()
        expect(page.get_by_text("three workers within 15 minutes")).to_be_visible()
        page.get_by_text("What to do").nth(1).click()
        expect(page.get_by_text("The runbook has no section")).to_be_visible()
        expect(page.get_by_text("Alarms that are not raised (1)")).to_be_visible()
        assert page.locator("main script, main img, main iframe").count() == 0
        assert_accessible(page)


def test_a_key_without_the_scope_sees_none_of_it(
    browser: Browser, endpoints: Endpoints, account: Account
) -> None:
    with a_page(browser, endpoints) as page:
        sign_in(page, new_key(account, "jobs"))
        assert page.get_by_role("link", name="Switches").count() == 0
        for name in ("now", "switches", "trouble"):
            show(page, f"#/{name}")
            expect(page.get_by_text("This page needs a key with the scope admin.")).to_be_visible()
