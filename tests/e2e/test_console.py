"""The web console against the local deployment, in a browser: the story of its user.

A violation of the page's Content-Security-Policy and an error of a script fail every test, and axe
looks at every page.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from comfyline.client import Comfyline
from localcloud.state import ROOT, Endpoints
from tests.e2e.conftest import make
from tests.support.browser import a_browser, needs_chromium

pytestmark = [pytest.mark.usefixtures("local"), needs_chromium]

AXE = ROOT / "console" / "node_modules" / "axe-core" / "axe.min.js"
WORKFLOWS = Path(__file__).parents[1] / "recordings" / "workflows"
SOON_MS = 30_000
FIRST_LOAD_BYTES = 250_000  # compressed
PHONE, DESKTOP, WALL = (
    {"width": 360, "height": 740},
    {"width": 1280, "height": 900},
    {"width": 2560, "height": 1300},
)
HOSTILE = "<img src=x onerror=alert(1)><script>alert(1)</script>\u202e{{7*7}}"


@pytest.fixture(scope="module", autouse=True)
def packages() -> None:
    """The console's packages, among them axe."""
    done = make("console/node_modules/.package-lock.json")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with a_browser() as browser:
        yield browser


@contextmanager
def a_page(browser: Browser, endpoints: Endpoints, **options: Any) -> Iterator[Page]:
    """The sign-in page. At the end, nothing on the page may have complained."""
    complaints: list[str] = []
    context = browser.new_context(**{"viewport": DESKTOP, "locale": "en-GB", **options})
    page = context.new_page()
    page.set_default_timeout(SOON_MS)
    expect.set_options(timeout=SOON_MS)
    page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
    page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
    page.on(
        "console",
        lambda message: complaints.append(message.text) if is_fault(message.text) else None,
    )
    page.goto(f"{endpoints.api_url}/console")
    yield page
    context.close()
    assert complaints == []


def is_fault(text: str) -> bool:
    return any(word in text for word in ("Content Security Policy", "TrustedScript", "Uncaught"))


def sign_in(page: Page, key: str, *, lands_on: str = "Jobs") -> None:
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name=lands_on, level=1)).to_be_visible()


@pytest.fixture
def page(browser: Browser, endpoints: Endpoints) -> Iterator[Page]:
    """The gallery of the first owner."""
    with a_page(browser, endpoints) as page:
        sign_in(page, endpoints.api_key)
        yield page


def assert_accessible(page: Page) -> None:
    """Axe finds nothing, and nothing needs to be scrolled sideways."""
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    assert [(each["id"], each["nodes"][0]["html"][:200]) for each in found] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def post(page: Page, prompt: str, steps: int = 4) -> None:
    page.get_by_role("link", name="New job").first.click()
    page.get_by_label("Prompt", exact=True).fill(prompt)
    page.get_by_label("Steps").fill(str(steps))
    page.get_by_role("button", name="Start the job").click()
    expect(page.get_by_role("heading", name=prompt)).to_be_visible()


def test_a_job_from_the_form_shows_its_progress_and_its_picture(page: Page) -> None:
    post(page, "a red fox at dawn", steps=150)
    expect(page.get_by_role("progressbar")).to_be_visible()
    expect(page.get_by_text(re.compile("step [0-9]+/150"))).to_be_visible()
    expect(page.get_by_alt_text("Preview of the unfinished picture")).to_be_visible()
    expect(page.locator(".badge", has_text="Done")).to_be_visible(timeout=60_000)
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
    expect(page.get_by_role("status")).to_have_text("Live")
    album = secrets.token_hex(4)
    prompt = f"a badger of album {album}"
    job = client.submit(prompt, steps=300, metadata={"album": album})
    card = page.locator(".card", has_text=prompt)
    expect(card).to_be_visible(timeout=60_000)  # the service may need half a minute to know
    expect(card.get_by_text("Done")).to_be_visible(timeout=60_000)
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


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [PHONE, DESKTOP, WALL], ids=["phone", "desktop", "wall"])
def test_every_page_is_accessible_at_every_size(
    browser: Browser, endpoints: Endpoints, scheme: str, viewport: dict[str, int]
) -> None:
    with a_page(browser, endpoints, color_scheme=scheme, viewport=viewport) as page:
        assert_accessible(page)
        sign_in(page, endpoints.api_key)
        assert_accessible(page)
        page.get_by_role("link", name="New job").first.click()
        expect(page.get_by_label("Prompt", exact=True)).to_be_visible()
        assert_accessible(page)
        page.get_by_role("tab", name="Workflow").click()
        chosen = page.locator("input[type=file]").first
        chosen.set_input_files(WORKFLOWS / "load_uploaded_image.json")
        expect(page.get_by_text("Input files")).to_be_visible()
        assert_accessible(page)
        page.get_by_role("link", name="Usage").click()
        expect(page.get_by_text("GPU time")).to_be_visible()
        assert_accessible(page)


def test_it_is_used_by_keyboard_and_in_german(browser: Browser, endpoints: Endpoints) -> None:
    with a_page(browser, endpoints, locale="de-DE") as page:
        expect(page.get_by_label("API-Schlüssel")).to_be_focused()
        page.keyboard.type(endpoints.api_key)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Jobs")).to_be_visible()
        assert page.evaluate("document.documentElement.lang") == "de"
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Zum Inhalt springen")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("main")).to_be_focused()


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


def test_the_first_load_is_small_and_from_one_place(browser: Browser, endpoints: Endpoints) -> None:
    context = browser.new_context()
    page = context.new_page()
    loaded: list[tuple[str, int]] = []
    page.on("requestfinished", lambda r: loaded.append((r.url, r.sizes()["responseBodySize"])))
    page.goto(f"{endpoints.api_url}/console", wait_until="networkidle")
    context.close()
    assert all(url.startswith(f"{endpoints.api_url}/console") for url, _ in loaded), loaded
    assert len(loaded) >= 3
    assert sum(size for _, size in loaded) < FIRST_LOAD_BYTES
