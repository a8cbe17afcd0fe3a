"""Several jobs of the console's list at once: how they are chosen, and what is done with them."""

from __future__ import annotations

import re
import secrets
import zipfile
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from comfyline.client import Comfyline
from localcloud.state import Endpoints
from tests.e2e.console import (
    PHONE,
    a_page,
    a_view,
    answers_with,
    assert_accessible,
    show,
)
from tests.e2e.test_console_files import NO_PICKER
from tests.support.browser import needs_chromium
from tests.support.eventually import eventually_now

pytestmark = [pytest.mark.usefixtures("local", "console_packages"), needs_chromium]

MANY = 10_000
AT_ONCE = 4


def the_bar(page: Page) -> Locator:
    return page.get_by_role("region", name="Chosen jobs")


def choice(page: Page, title: str) -> Locator:
    return page.get_by_role("checkbox", name=f"Choose {title}", exact=True)


def a_problem(status: int, detail: str) -> dict[str, Any]:
    return {"type": "urn:problem", "title": "No", "code": "no", "status": status, "detail": detail}


def foxes(client: Comfyline, count: int, **changed: Any) -> list[dict[str, Any]]:
    """Jobs as the list shows them, which the service does not know."""
    view = a_view(client, **changed)
    made = secrets.token_hex(4)
    return [
        {**view, "job_id": f"job_{made}{n:018d}", "params": {"prompt": f"fox {n}"}}
        for n in range(count)
    ]


@pytest.fixture
def album(page: Page) -> str:
    """The metadata of this test's jobs; the page shows only them."""
    name = secrets.token_hex(4)
    page.evaluate(NO_PICKER)
    show(page, f"#/?metadata=album%3D{name}")
    return name


def test_jobs_are_chosen_among_thousands_with_pointer_and_keyboard(
    page: Page, client: Comfyline
) -> None:
    answers_with(page, foxes(client, MANY, status="failed"))
    show(page, "#/?status=expired")
    bar = the_bar(page)
    choice(page, "fox 1").check()
    expect(bar).to_contain_text("1 job is chosen.")
    choice(page, "fox 6").click(modifiers=["Shift"])
    expect(bar).to_contain_text("6 jobs are chosen.")
    choice(page, "fox 3").click(modifiers=["Shift"])  # the range becomes smaller again
    expect(bar).to_contain_text("3 jobs are chosen.")
    page.get_by_role("link", name="fox 0", exact=True).focus()
    page.keyboard.press("Escape")
    expect(bar).to_be_hidden()

    page.keyboard.press(" ")
    expect(choice(page, "fox 0")).to_be_checked()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("link", name="fox 1", exact=True)).to_be_focused()
    page.keyboard.press("Shift+ArrowRight")
    expect(bar).to_contain_text("3 jobs are chosen.")
    columns = page.evaluate(
        "getComputedStyle(document.querySelector('.gallery')).gridTemplateColumns.split(' ').length"
    )
    for _ in range(20):  # beyond the rows that were on the page at first
        page.keyboard.press("Shift+ArrowDown")
    last = 2 + 20 * columns
    expect(page.get_by_role("link", name=f"fox {last}", exact=True)).to_be_focused()
    expect(bar).to_contain_text(f"{last + 1} jobs are chosen.")
    bar_top, focused_bottom = (
        (bar.bounding_box() or {})["y"],
        page.evaluate("document.activeElement.closest('li').getBoundingClientRect().bottom"),
    )
    assert focused_bottom <= bar_top
    assert_accessible(page)

    page.keyboard.press("Control+a")
    expect(bar).to_contain_text(re.compile(r"\d{4,} jobs are chosen"))
    page.keyboard.press("Escape")
    expect(bar).to_be_hidden()
    choice(page, f"fox {last}").check()
    show(page, "#/?status=failed")
    expect(bar).to_be_hidden()


def test_each_of_many_calls_has_a_result_and_few_run_at_once(page: Page, client: Comfyline) -> None:
    views = foxes(client, 12, status="running")
    answers_with(page, views)
    held: list[Route] = []
    page.route(
        re.compile("/jobs/job_[0-9a-f]+$"),
        lambda route: held.append(route) if route.request.method == "DELETE" else route.abort(),
    )
    show(page, "#/?status=expired")
    choice(page, "fox 0").focus()
    page.keyboard.press("Control+a")
    page.get_by_role("button", name="Cancel (12)").click()
    answered = 0
    while answered < len(views):
        waiting = min(AT_ONCE, len(views) - answered)
        eventually_now(lambda n=waiting: page.evaluate("1") and len(held) == n)
        route = held.pop(0)
        if answered == 5:
            route.fulfill(
                status=409,
                json=a_problem(409, "The job cannot be canceled now."),
                content_type="application/problem+json",
            )
        else:
            job_id = route.request.url.rsplit("/", 1)[1]
            route.fulfill(json={"job_id": job_id, "status": "canceling", "purged": False})
        answered += 1
        assert len(held) <= AT_ONCE
    bar = the_bar(page)
    expect(bar).to_contain_text("11 of 12 jobs will be canceled.")
    outcomes = bar.get_by_role("listitem")
    expect(outcomes).to_have_count(12)
    expect(outcomes.first).to_contain_text("The job cannot be canceled now.")
    assert_accessible(page)


def test_running_jobs_are_canceled_and_failed_ones_retried(
    page: Page, client: Comfyline, album: str
) -> None:
    about = {"album": album}
    client.submit("a quick wren", steps=1, metadata=about).wait(60)
    running = [client.submit("a slow heron", steps=1000, metadata=about) for _ in range(2)]
    page.reload()
    expect(page.locator(".card")).to_have_count(3)
    page.get_by_role("checkbox").first.focus()
    page.keyboard.press("Control+a")
    bar = the_bar(page)
    expect(bar.get_by_role("button", name="Retry")).to_have_count(0)
    bar.get_by_role("button", name="Cancel (2)").click()
    expect(bar).to_contain_text("2 of 2 jobs will be canceled.")
    assert {job.wait(60).status for job in running} == {"canceled"}
    bar.get_by_role("button", name="Retry (2)").click()
    expect(bar).to_contain_text("2 of 2 jobs were accepted again.")
    made = [
        link.get_attribute("href").rsplit("/", 1)[1]  # type: ignore[union-attr]
        for link in bar.get_by_role("link", name="new job").all()
    ]
    again = [client.job(job_id) for job_id in made]
    assert {job.refresh().retry_of for job in again} == {job.id for job in running}
    for job in again:
        job.cancel()
    assert_accessible(page)


def test_the_files_of_several_jobs_are_one_archive(
    page: Page, client: Comfyline, album: str, tmp_path: Path
) -> None:
    about = {"album": album}
    jobs = [client.submit("../a dune.", steps=1, seed=n, metadata=about) for n in (1, 2, 3)]
    for job in jobs:
        job.wait(60)
    page.route(
        f"**/api/v1/jobs/{jobs[2].id}/artifacts*",
        lambda route: route.fulfill(
            status=410,
            json=a_problem(410, "It is gone."),
            content_type="application/problem+json",
        ),
    )
    page.reload()
    page.evaluate(NO_PICKER)
    expect(page.locator(".card")).to_have_count(3)
    page.get_by_role("checkbox").first.focus()
    page.keyboard.press("Control+a")
    bar = the_bar(page)
    with page.expect_download() as download:
        bar.get_by_role("button", name="Download files (3)").click()
    download.value.save_as(tmp_path / "jobs.zip")
    expect(bar).to_contain_text("The files of 2 of 3 jobs are in the archive.")
    expect(bar.get_by_role("listitem").first).to_contain_text("It is gone.")
    with zipfile.ZipFile(tmp_path / "jobs.zip") as archive:
        assert archive.testzip() is None
        folders = {name.split("/")[0] for name in archive.namelist()}
        assert len(archive.namelist()) == len(folders) == 2
        assert all(len(Path(name).parts) == 2 for name in archive.namelist())
    bar.get_by_role("button", name="Close").click()
    choice(page, "../a dune.").first.uncheck()
    bar.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("heading", name="Compare two pictures")).to_be_visible()
    expect(page.locator(".beside img")).to_have_count(2)


def test_jobs_are_chosen_on_a_phone(
    browser: Browser, endpoints: Endpoints, client: Comfyline
) -> None:
    options = {"viewport": PHONE, "has_touch": True, "is_mobile": True, "locale": "de-DE"}
    with a_page(browser, endpoints, color_scheme="dark", **options) as page:
        page.get_by_label("API-Schlüssel").fill(endpoints.api_key)
        page.get_by_role("button", name="Anmelden").click()
        expect(page.get_by_role("heading", name="Jobs", level=1)).to_be_visible()
        answers_with(page, foxes(client, 8, status="failed"))
        show(page, "#/?status=expired")
        page.get_by_role("checkbox", name="fox 0 auswählen").tap()
        page.get_by_role("button", name="Alle 8 auswählen").tap()
        bar = page.get_by_role("region", name="Ausgewählte Jobs")
        expect(bar).to_contain_text("8 Jobs sind ausgewählt.")
        assert (bar.bounding_box() or {})["height"] < PHONE["height"] / 2
        assert_accessible(page)
        page.get_by_role("button", name="Keinen auswählen").tap()
        expect(bar).to_be_hidden()
