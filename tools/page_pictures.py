"""Writes pictures of the web pages, docs/images/page-*.png, from a running service and the site.

    make up site
    python -m tools.page_pictures [--endpoints .local/endpoints.json] [--site out/site]

Chromium draws them: `apt-get install chromium`.
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Shown:
    """One picture: a page of the service or of the site, in light or dark."""

    name: str
    path: str
    is_site: bool = False
    scheme: Literal["light", "dark"] = "light"
    opened: str = ""  # the operation that is opened in the viewer


PAGES = (
    Shown("welcome", "/"),
    Shown("welcome-dark", "/", scheme="dark"),
    Shown("docs", "/docs", opened="submitJob"),
    Shown("docs-dark", "/docs", scheme="dark", opened="submitJob"),
    Shown("live", "/docs/live"),
    Shown("site", "index.html", is_site=True),
    Shown("site-quickstart", "quickstart.html", is_site=True),
)


def main() -> None:
    """Write the pictures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--endpoints", type=Path, default=ROOT / ".local" / "endpoints.json")
    parser.add_argument("--site", type=Path, default=ROOT / "out" / "site")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    given = parser.parse_args()
    service = str(json.loads(given.endpoints.read_text())["api_url"])
    with sync_playwright() as playwright:
        # Chromium's sandbox refuses root, which containers run as.
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        for shown in PAGES:
            base = f"{given.site.resolve().as_uri()}/" if shown.is_site else service
            draw(browser, f"{base}{shown.path}", shown, given.out / f"page-{shown.name}.png")
            print(f"wrote page-{shown.name}.png")
        browser.close()


def draw(browser: Browser, address: str, shown: Shown, picture: Path) -> None:
    """Write the picture of the page at this address."""
    page = browser.new_page(viewport={"width": 1200, "height": 800}, color_scheme=shown.scheme)
    page.goto(address)
    page.wait_for_load_state("networkidle")
    if shown.opened:
        operation = page.locator(f"[id^=operations-][id$=-{shown.opened}]")
        operation.locator(".opblock-summary-control").click()
        operation.locator(".samples").wait_for()
        operation.evaluate("element => element.scrollIntoView()")
    page.screenshot(path=picture)
    page.close()


if __name__ == "__main__":
    main()
