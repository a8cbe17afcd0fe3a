"""GET /docs: the files as they are served, and the page in a browser, where a job is tried."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from urllib.parse import urljoin

import pytest
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Locator,
    Page,
    Request,
    Route,
)

from comfyline.contract.v1.operations import OPERATIONS
from functions import show_docs
from tests.support.browser import a_browser, needs_chromium
from tests.support.documents import ROOT
from tests.support.gateway import Gateway

SOURCE = json.loads((show_docs.FOLDER / "source.json").read_text())
VENDORED = list(SOURCE["sha256"])
MAX_ANSWER_BYTES = 6 * 2**20  # Lambda's own limit
COMPRESSED = {"Accept-Encoding": "gzip, br"}

# --- the served files and the page ----------------------------------------------------------------


def test_the_document_is_the_committed_one(gateway: Gateway) -> None:
    committed = json.loads((ROOT / "docs" / "api" / "openapi.json").read_text())
    assert gateway("GET", "/openapi.json").json == committed
    assert gateway("GET", "/openapi.json", headers=COMPRESSED).json == committed


def test_the_document_of_the_socket_names_this_deployment(gateway: Gateway) -> None:
    document = gateway("GET", "/asyncapi.json").json
    server = document.pop("servers")["deployment"]
    assert (server["protocol"], server["host"], server["pathname"]) == (
        *("wss", "sockets.example.com", "/live"),
    )
    committed = json.loads((ROOT / "docs" / "api" / "asyncapi.json").read_text())
    committed.pop("servers")
    assert document == committed


@pytest.mark.parametrize("path", ["/", "/docs", "/docs/live"])
def test_every_link_of_a_page_leads_to_a_page_or_a_file(gateway: Gateway, path: str) -> None:
    page = gateway("GET", path)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    for address in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        if not address.startswith(("data:", "https://github.com/", "#")):
            reply = gateway("GET", urljoin(path, address))
            is_console = address == "console"  # which these tests do not build
            assert reply.status == 200 or (is_console and "make console" in reply.text), address


def test_the_document_of_comfys_api_is_beside_ours(gateway: Gateway) -> None:
    reply = gateway("GET", "/docs/comfy.json")
    assert reply.headers["content-type"] == "application/json"
    assert reply.json == json.loads((ROOT / "docs" / "api" / "comfy.json").read_text())


@pytest.mark.parametrize("path", ["/", "/docs/live"])
def test_a_page_to_read_has_no_script(gateway: Gateway, path: str) -> None:
    page = gateway("GET", path)
    assert "<script" not in page.text
    assert "style=" not in page.text  # which the policy would refuse
    assert "default-src 'none'" in page.headers["content-security-policy"]


def test_the_page_loads_only_files_that_are_served_beside_it(gateway: Gateway) -> None:
    page = gateway("GET", "/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert {*loaded} > {f"docs/{name}" for name in VENDORED}
    for address in loaded:
        if address != "data:,":  # no icon
            assert gateway("GET", f"/{address}").status == 200, address


@pytest.mark.parametrize("name", [*VENDORED, "start.js", "page.css", "plain.css"])
def test_a_file_is_the_same_compressed_or_not(gateway: Gateway, name: str) -> None:
    plain, compressed = (
        gateway("GET", f"/docs/{name}", headers=headers) for headers in ({}, COMPRESSED)
    )
    assert plain.text == compressed.text
    assert len(plain.text.encode()) * 4 / 3 < MAX_ANSWER_BYTES
    assert "content-encoding" not in plain.headers
    assert compressed.headers["content-encoding"] == "gzip"
    assert compressed.headers["vary"] == "accept-encoding"
    is_for_ever = "immutable" in compressed.headers["cache-control"]
    assert is_for_ever == (SOURCE["version"] in name)


@pytest.mark.parametrize("name", VENDORED)
def test_a_vendored_file_is_the_one_that_was_fetched(gateway: Gateway, name: str) -> None:
    content = gateway("GET", f"/docs/{name}").text.encode()
    assert hashlib.sha256(content).hexdigest() == SOURCE["sha256"][name]


def test_the_vendored_files_come_with_their_licences() -> None:
    assert "Apache License" in (show_docs.FOLDER / "LICENSE").read_text()
    assert (show_docs.FOLDER / "NOTICE").exists()


@pytest.mark.parametrize("name", ["index.html", "source.json", "LICENSE", "..%2Fshow_docs.py", "x"])
def test_no_other_file_is_served(gateway: Gateway, name: str) -> None:
    reply = gateway("GET", f"/docs/{name}")
    assert (reply.status, reply.json["code"]) == (404, "route_not_found")


# --- in a browser ---------------------------------------------------------------------------------

BASE = "http://api.test/_aws/execute-api/some-id"  # as on a developer's machine
KEY = "cl_id_secret"

in_a_browser = [needs_chromium, pytest.mark.enable_socket]


@dataclass
class Visit:
    """An open page, the requests that it has made, and its complaints."""

    page: Page
    requests: list[Request] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def operation(self, name: str) -> Locator:
        return self.page.locator(f"[id^=operations-][id$=-{name}]")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with a_browser() as browser:
        yield browser


@pytest.fixture
def visit(browser: Browser, gateway: Gateway) -> Iterator[Visit]:
    """The page as the functions serve it, below a base path; nothing else can be reached."""
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    visit = Visit(page)

    def serve(route: Route) -> None:
        visit.requests.append(route.request)
        if not route.request.url.startswith(BASE):
            return route.abort()
        path = route.request.url.removeprefix(BASE)
        body = route.request.post_data
        reply = gateway(route.request.method, path, body=body, headers=route.request.headers)
        headers = {k: v for k, v in reply.headers.items() if k != "content-encoding"}
        return route.fulfill(status=reply.status, headers=headers, body=reply.text)

    def hear(message: ConsoleMessage) -> None:
        visit.complaints.append(message.text)

    page.route("**/*", serve)
    page.on("console", hear)
    page.on("pageerror", lambda error: visit.complaints.append(str(error)))
    page.goto(f"{BASE}/docs")
    page.locator(".opblock").first.wait_for()
    yield visit
    page.close()


class TestInABrowser:
    pytestmark = in_a_browser

    def test_every_operation_is_shown(self, visit: Visit) -> None:
        shown = visit.page.locator(".opblock-summary").all_inner_texts()
        found = {tuple(text.replace("\u200b", "").split()[:2]) for text in shown}
        assert found == {*OPERATIONS}

    def test_nothing_is_loaded_from_elsewhere_and_nothing_is_refused(self, visit: Visit) -> None:
        visit.operation("submitJob").locator(".opblock-summary-control").click()
        visit.page.wait_for_load_state("networkidle")
        paths = {request.url.removeprefix(BASE) for request in visit.requests}
        assert paths == {
            "/docs",
            "/openapi.json",
            "/docs/start.js",
            "/docs/page.css",
            *(f"/docs/{name}" for name in VENDORED),
        }
        assert visit.complaints == []

    def test_a_job_is_submitted_with_a_key_that_is_kept_nowhere(self, visit: Visit) -> None:
        page = visit.page
        page.get_by_role("button", name="Authorize").click()
        page.locator(".auth-container input").fill(KEY)
        page.locator(".auth-btn-wrapper").get_by_role("button", name="Apply").click()
        page.locator(".auth-btn-wrapper").get_by_role("button", name="Close").click()
        submit = visit.operation("submitJob")
        submit.locator(".opblock-summary-control").click()
        submit.locator("button.execute").click()
        answer = submit.locator(".live-responses-table")
        answer.wait_for()
        assert "202" in answer.inner_text()
        assert '"status": "queued"' in answer.inner_text()
        (sent,) = [request for request in visit.requests if request.method == "POST"]
        assert sent.headers["authorization"] == f"Bearer {KEY}"
        assert json.loads(sent.post_data or "")["prompt"] == "a red fox in the snow"
        assert (
            page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])") == "[{},{}]"
        )
        assert page.context.cookies() == []

    def test_the_samples_are_shown_in_each_language(self, visit: Visit) -> None:
        submit = visit.operation("submitJob")
        submit.locator(".opblock-summary-control").click()
        shown = submit.locator(".samples")
        for name, text in (
            ("curl", "curl -s"),
            ("Python", "client.submit("),
            ("TypeScript", "await"),
        ):
            shown.get_by_role("button", name=name).click()
            assert text in shown.locator("pre").inner_text()
        assert visit.complaints == []

    def test_the_pages_to_read_fit_a_phone_in_light_and_dark(self, visit: Visit) -> None:
        page = visit.page
        page.set_viewport_size({"width": 390, "height": 844})
        for path, scheme in product(("/", "/docs/live"), ("light", "dark")):
            page.emulate_media(color_scheme=scheme)
            page.goto(f"{BASE}{path}")
            wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert page.evaluate(wide) == 0, path
            colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (colour == "rgb(255, 255, 255)") == (scheme == "light")
        assert visit.complaints == []

    def test_it_fits_a_phone(self, visit: Visit) -> None:
        visit.page.set_viewport_size({"width": 390, "height": 844})
        visit.operation("getJob").locator(".opblock-summary-control").click()
        wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert visit.page.evaluate(wide) == 0

    def test_everything_that_can_be_pressed_has_a_name(self, visit: Visit) -> None:
        visit.operation("submitJob").locator(".opblock-summary-control").click()
        for button in visit.page.get_by_role("button").all():
            spoken = (button.get_attribute("aria-label"), button.get_attribute("title"))
            names = [name for name in (*spoken, button.inner_text()) if name and name.strip()]
            assert names, button.evaluate("element => element.outerHTML")
