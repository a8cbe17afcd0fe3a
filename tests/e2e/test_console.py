"""The web console against the local deployment: the story of its user."""

from __future__ import annotations

import json
import re
import secrets

import pytest
from playwright.sync_api import Page, expect

from comfyline.client import Comfyline
from tests.e2e.console import WORKFLOWS, assert_accessible, connection_of, post
from tests.support.browser import needs_chromium

pytestmark = [pytest.mark.usefixtures("local", "console_packages"), needs_chromium]


def test_a_job_from_the_form_shows_its_progress_and_its_picture(page: Page) -> None:
    post(page, "a red fox at dawn", steps=150)
    expect(page.get_by_role("progressbar")).to_be_visible()
    expect(page.get_by_text(re.compile("step [0-9]+/150"))).to_be_visible()
    expect(page.get_by_alt_text("Preview of the unfinished picture")).to_be_visible()
    expect(page.locator(".badge", has_text="Done")).to_be_visible()
    picture = page.locator(".file img")
    expect(picture).to_be_visible()
    assert picture.evaluate("async image => { await image.decode(); return image.naturalWidth }")
    expect(page.locator(".timeline li")).to_have_count(4)
    page.get_by_role("button", name=re.compile("Show .* large")).click()
    expect(page.get_by_role("dialog")).to_be_visible()
    assert_accessible(page)
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    assert_accessible(page)
    page.get_by_role("link", name="Run again with changes").click()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a red fox at dawn")
    expect(page.get_by_label("Steps")).to_have_value("150")


def test_the_gallery_shows_a_job_of_another_client_as_it_runs(
    page: Page, client: Comfyline
) -> None:
    expect(connection_of(page)).to_have_text("Live")
    album = secrets.token_hex(4)
    prompt = f"a badger of album {album}"
    job = client.submit(prompt, steps=300, metadata={"album": album})
    card = page.locator(".card", has_text=prompt)
    expect(card).to_be_visible()
    expect(card.get_by_text("Done")).to_be_visible()
    expect(card.locator("img")).to_be_visible()
    page.get_by_label("Metadata").fill(f"album={album}")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator(".card")).to_have_count(1)
    page.get_by_label("Status").select_option("failed")
    expect(page.get_by_text("No job matches the filter.")).to_be_visible()
    assert job.wait(60).status == "succeeded"


def test_a_running_job_is_canceled_and_retried(page: Page) -> None:
    post(page, "a heron", steps=1000)
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".badge", has_text="Canceled")).to_be_visible()
    first = page.url
    page.get_by_role("button", name="Retry").click()
    expect(page.get_by_text("Retry of")).to_be_visible()
    assert page.url != first
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".badge", has_text="Canceled")).to_be_visible()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", name="Jobs")).to_be_visible()


def test_a_dropped_workflow_that_fails_names_its_node(page: Page) -> None:
    page.get_by_role("link", name="New job").first.click()
    page.get_by_role("tab", name="Workflow").click()
    text = page.get_by_label("Workflow as JSON")
    for wrong, said in [
        ("{", "This is not JSON."),
        ('{"a": 1}', "no workflow in API format"),
        ('{"nodes": [], "links": []}', "editor format"),
    ]:
        text.fill(wrong)
        expect(page.locator("#graph-trouble")).to_contain_text(said)
        expect(page.get_by_role("button", name="Start the job")).to_be_disabled()
    page.locator("input[type=file]").first.set_input_files(WORKFLOWS / "load_corrupt_image.json")
    expect(page.get_by_text("Input files")).to_be_visible()
    page.get_by_label("Fail if any output").check()
    assert_accessible(page)
    page.get_by_role("button", name="Start the job").click()
    expect(page.locator(".trouble", has_text="LoadImage")).to_be_visible()
    assert_accessible(page)


def test_the_requests_are_shown_as_code(page: Page) -> None:
    page.get_by_role("link", name="New job").first.click()
    page.get_by_label("Prompt", exact=True).fill('a "red" fox')
    page.get_by_label("Seed").fill("9223372036854775807")
    shown = page.get_by_role("tabpanel", name="curl").locator("pre").inner_text()
    body = json.loads(shown[shown.index("{\n") : shown.rindex("}") + 1])
    assert (body["prompt"], body["seed"]) == ('a "red" fox', 9223372036854775807)
    page.get_by_role("tab", name="Python").click()
    expect(page.get_by_role("tabpanel", name="Python")).to_contain_text("from comfyline.client")
    page.get_by_role("tab", name="TypeScript").click()
    panel = page.get_by_role("tabpanel", name="TypeScript")
    expect(panel).to_contain_text("9223372036854775807n")
