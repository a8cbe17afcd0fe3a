"""Take the pictures of docs/console.md: `make screenshots`, while `make up` runs.

    python -m tools.screenshots --state .local

The script makes the jobs on the pictures, so that these show what the console shows today.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from comfyline.client import Comfyline
from localcloud.state import ROOT, Endpoints, State

FOLDER = ROOT / "docs" / "images" / "console"
WORKFLOWS = ROOT / "tests" / "recordings" / "workflows"
SIZES = {"desktop": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 844}}
# No part of the page is being loaded, and no picture in the window.
IS_COMPLETE = """() =>
  !document.body.innerText.includes("Loading…") &&
  [...document.images].every(i => i.complete || i.getBoundingClientRect().top > innerHeight)"""
PLAIN_PAGES = ("usage", "keys", "now", "owners", "trouble", "switches")
PROMPTS = (
    "a lighthouse in a storm, oil on canvas",
    "green hills under two moons",
    "a quiet harbour at dawn, mist",
    "dunes and a copper sky",
    "a glacier lake, long exposure",
)


def main() -> None:
    """Make some jobs, and take a picture of every page in each size and colour scheme."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, default=ROOT / ".local")
    endpoints = State(parser.parse_args().state.absolute()).read()
    if endpoints is None:
        raise SystemExit("No deployment runs: make up")
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    with Comfyline(endpoints.api_url, endpoints.api_key, endpoints.ws_url) as client:
        made, failed = _jobs(client)
        with _browser() as browser:
            for size in SIZES:
                for scheme in ("light", "dark"):
                    _pictures(browser, endpoints, client, size, scheme, (made, failed))


def _jobs(client: Comfyline) -> tuple[str, str]:
    """The ids of a job that has made pictures, and of one that has failed."""
    for n, prompt in enumerate(PROMPTS):
        client.submit(prompt, steps=20, seed=n + 3, metadata={"album": "landscapes"}).wait(60)
    graph = json.loads((WORKFLOWS / "load_corrupt_image.json").read_text())
    failed = client.submit(workflow=graph, strict=True, metadata={"title": "Portrait, retouched"})
    failed.wait(60)
    made = client.submit("a red fox in the snow, morning light", batch_size=3, seed=11)
    made.wait(60)
    return made.id, failed.id


@contextmanager
def _browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        path = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def _pictures(
    browser: Browser,
    endpoints: Endpoints,
    client: Comfyline,
    size: str,
    scheme: str,
    jobs: tuple[str, str],
) -> None:
    context = browser.new_context(
        viewport=SIZES[size],  # type: ignore[arg-type]
        color_scheme=scheme,  # type: ignore[arg-type]
        locale="en-GB",
    )
    page = context.new_page()

    def take(name: str) -> None:
        page.wait_for_load_state("networkidle")
        page.wait_for_function(IS_COMPLETE)
        page.screenshot(path=FOLDER / f"{name}-{size}-{scheme}.png", animations="disabled")

    page.goto(f"{endpoints.api_url}/console")
    take("sign-in")
    page.get_by_label("API key").fill(endpoints.api_key)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("status").filter(has_text="Live").wait_for(state="attached")
    running = client.submit("a forest of birches, running now", steps=1000, previews=True)
    _open(page, "#/")
    page.get_by_text("step").first.wait_for(timeout=60_000)
    page.get_by_text("left").first.wait_for(timeout=60_000)
    take("gallery")
    if (menu := page.get_by_role("button", name="Menu")).is_visible():
        menu.click()
        take("menu")
    _open(page, f"#/jobs/{running.id}")
    page.locator(".node.running").wait_for()
    page.locator(".graph").evaluate("graph => graph.scrollIntoView({ block: 'end' })")
    take("workflow")
    made, failed = jobs
    _open(page, f"#/jobs/{made}")
    page.locator(".file img").nth(2).wait_for()
    take("job")
    _open(page, f"#/compare?a={made}.0&b={made}.1")
    page.get_by_role("button", name="Slider").click()
    page.locator(".over-pictures img").nth(1).wait_for()
    take("compare")
    _open(page, f"#/jobs/{failed}")
    page.locator(".trouble").wait_for()
    take("failed-job")
    _open(page, f"#/new?from={made}")
    page.get_by_label("Steps").wait_for()
    take("new-job")
    page.get_by_role("tab", name="Workflow").click()
    chosen = page.locator("input[type=file]").first
    chosen.set_input_files(WORKFLOWS / "load_uploaded_image.json")
    page.get_by_text("Input files").wait_for()
    take("new-workflow")
    for name in PLAIN_PAGES:
        _open(page, f"#/{name}")
        page.locator("main h1").wait_for()
        if name == "usage":
            page.get_by_text("GPU time").first.wait_for()
        if name == "now":
            page.get_by_role("cell", name=running.id).first.wait_for()
        take(name)
    context.close()
    running.cancel()
    running.wait(60)
    client.purge(running.id)


def _open(page: Page, fragment: str) -> None:
    """Show a page of the console, as a link does."""
    page.evaluate("fragment => { location.hash = fragment }", fragment)


if __name__ == "__main__":
    main()
