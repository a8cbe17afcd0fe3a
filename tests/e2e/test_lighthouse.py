"""Lighthouse on pages of the console, as it judges a desktop computer.

It judges a phone by slowing the processor down four times, which measures how busy this machine is.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from comfyline.client import Comfyline
from localcloud.state import Endpoints, free_port
from tests.e2e.conftest import make
from tests.e2e.console import sign_in
from tests.support.browser import LAUNCH, needs_chromium
from tests.support.npm_package import NODE

FOLDER = Path(__file__).parent / "lighthouse" / "node_modules"
CATEGORIES = ("performance", "accessibility", "best-practices")
LEAST, TRIES = 95, 3

pytestmark = [
    pytest.mark.usefixtures("local", "lighthouse"),
    needs_chromium,
]


@pytest.fixture(scope="module")
def lighthouse(is_long: bool) -> None:
    """Lighthouse's packages."""
    if not is_long:
        pytest.skip("takes two minutes: --long runs it")
    done = make("tests/e2e/lighthouse/node_modules/.complete")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def port(endpoints: Endpoints, tmp_path: Path) -> Iterator[int]:
    """The port to debug a browser in which somebody is signed in."""
    with sync_playwright() as playwright:
        port = free_port()
        arguments = [*LAUNCH["args"], f"--remote-debugging-port={port}"]
        context = playwright.chromium.launch_persistent_context(
            tmp_path / "profile", **{**LAUNCH, "args": arguments}
        )
        page = context.new_page()
        page.goto(f"{endpoints.api_url}/console")
        sign_in(page, endpoints.api_key)
        page.close()
        yield port
        context.close()


def judged(url: str, port: int, folder: Path) -> dict[str, float]:
    """Lighthouse's best scores of the page, of 100. A machine that is busy only lowers them."""
    scores: dict[str, float] = {}
    for _ in range(TRIES):
        for name, score in scores_of(url, port, folder).items():
            scores[name] = max(score, scores.get(name, 0))
        if min(scores.values()) >= LEAST:
            break
    return scores


def scores_of(url: str, port: int, folder: Path) -> dict[str, float]:
    report = folder / "report.json"
    options = [f"--port={port}", "--quiet", "--output=json", f"--output-path={report}"]
    options += ["--preset=desktop", "--disable-storage-reset"]
    options += [f"--only-categories={','.join(CATEGORIES)}"]
    program = [NODE, str(FOLDER / "lighthouse" / "cli" / "index.js"), url]
    done = subprocess.run([*program, *options], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    found = json.loads(report.read_text())
    weak = [a["id"] for a in found["audits"].values() if (a["score"] or 1) < 0.9]
    scores = {name: round(found["categories"][name]["score"] * 100) for name in CATEGORIES}
    print(url, scores, weak)
    return scores


def test_the_pages_are_quick_accessible_and_sound(
    endpoints: Endpoints, client: Comfyline, port: int, tmp_path: Path
) -> None:
    job = client.submit("a lighthouse", steps=2)
    job.wait(60)
    console = f"{endpoints.api_url}/console"
    signed_out = console.replace("127.0.0.1", "localhost")  # this host has no session
    for url in (signed_out, f"{console}#/", f"{console}#/jobs/{job.id}"):
        scores = judged(url, port, tmp_path)
        assert min(scores.values()) >= LEAST, (url, scores)
