"""A page, a React page and programs of Node, with the TypeScript client installed as from npm.

The sockets lead through a proxy that is cut three times while the job runs; before the second cut
the workers are told to stop, so that the state changes while nobody listens.
"""

from __future__ import annotations

import asyncio
import functools
import http.server
import json
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from PIL import Image
from playwright.async_api import Page

from comfyline.client import AsyncComfyline, JobMessage
from comfyline.contract.v1.socket import ProgressMessage, server_message
from localcloud.state import ROOT, Endpoints, State
from tests.e2e.conftest import make
from tests.e2e.test_recovery import signalled, slow_steps
from tests.support.browser import a_browser_beside, needs_chromium
from tests.support.cutter import Cutter
from tests.support.hearing import (
    assert_each_once_in_order,
    assert_no_state_missed,
    assert_progress_never_falls,
)
from tests.support.npm_package import NODE, bundle, install
from tests.support.programs import printed

SCRIPTS = Path(__file__).parent / "typescript"
CUTS = 3
PROMPT = {"prompt": "a fox", "steps": 400, "width": 64, "height": 64, "priority": "high"}

pytestmark = pytest.mark.usefixtures("local")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the installed package, the programs, and the pages with their scripts."""
    done = make("clients/typescript/dist/index.js")
    assert done.returncode == 0, done.stdout + done.stderr
    folder = tmp_path_factory.mktemp("npm") / "site"
    package = install(folder)
    for script in SCRIPTS.iterdir():
        shutil.copy(script, folder)
    shutil.copytree(package / "dist", folder / "client")
    bundle(folder / "react.jsx", folder / "react.js")
    return folder


@pytest.fixture(scope="module")
def site(folder: Path) -> Iterator[str]:
    """Another origin than the service's, with the pages."""
    serve = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join(10)


def environment(endpoints: Endpoints) -> dict[str, str]:
    return {"COMFYLINE_URL": endpoints.api_url, "COMFYLINE_API_KEY": endpoints.api_key}


# --- three cuts -----------------------------------------------------------------------------------


@asynccontextmanager
async def cut_off(endpoints: Endpoints) -> AsyncIterator[tuple[Cutter, AsyncComfyline]]:
    """A proxy of the sockets, and a client that is not cut."""
    cutter = Cutter(endpoints.ws_url)
    async with (
        cutter.running(),
        AsyncComfyline(endpoints.api_url, endpoints.api_key, endpoints.ws_url) as sure,
    ):
        yield cutter, sure


async def cut_once(cutter: Cutter, number: int, state: State) -> None:
    """Cut every connection, and return when there is a new one."""
    assert cutter.cut() > 0
    if number == 2:
        signalled(state, signal.SIGTERM)
    await cutter.until_answered(cutter.answered + 1)


def assert_nothing_lost_or_doubled(told: list[JobMessage], truth: list[JobMessage]) -> None:
    assert_each_once_in_order(told)
    assert_progress_never_falls(told)
    assert_no_state_missed(told, max(truth, told, key=len))
    assert {m.attempt for m in told if m.type == "status"} >= {1, 2}
    assert told[-1].status == "succeeded"  # type: ignore[union-attr]


async def heard(messages: Any) -> list[JobMessage]:
    return [message async for message in messages]


async def test_a_node_program_over_three_cuts(
    folder: Path, endpoints: Endpoints, state: State
) -> None:
    told: list[JobMessage] = []
    async with cut_off(endpoints) as (cutter, sure):
        with slow_steps(endpoints, 100):
            program = await asyncio.create_subprocess_exec(
                *(NODE, folder / "follow.mjs", urlsplit(cutter.url).netloc, str(PROMPT["steps"])),
                env=environment(endpoints),
                stdout=subprocess.PIPE,
                limit=2**20,
            )
            assert program.stdout is not None
            job = sure.job((await program.stdout.readline()).decode().strip())
            truth = asyncio.create_task(heard(job.events(150)))
            for number in range(1, CUTS + 1):
                told += [each async for each in _until_progress(program.stdout)]
                await cut_once(cutter, number, state)
        with slow_steps(endpoints, 1):
            told += [server_message.validate_json(line) async for line in program.stdout]  # type: ignore[misc]
            assert await program.wait() == 0
            assert_nothing_lost_or_doubled(told, await truth)
    assert cutter.answered > CUTS


async def _until_progress(lines: asyncio.StreamReader) -> AsyncIterator[JobMessage]:
    """The program's messages until the next one with progress."""
    async for line in lines:
        message: JobMessage = server_message.validate_json(line)  # type: ignore[assignment]
        yield message
        if isinstance(message, ProgressMessage):
            return


@asynccontextmanager
async def opened(address: str, endpoints: Endpoints, cutter: Cutter) -> AsyncIterator[Page]:
    """The page in a browser, with its settings. What it complains of fails the test."""
    own = {"url": endpoints.api_url, "apiKey": endpoints.api_key, "prompt": PROMPT}
    chosen = quote(json.dumps({**own, "proxy": urlsplit(cutter.url).netloc}))
    complaints: list[str] = []
    async with a_browser_beside() as browser:
        page = await browser.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await page.goto(f"{address}#{chosen}")
        yield page
    assert complaints == []


async def draw_over_three_cuts(
    page: Page, cutter: Cutter, endpoints: Endpoints, state: State, progress: str
) -> None:
    """Press the button and cut the network three times, each time after more `progress`."""
    with slow_steps(endpoints, 100):
        await page.get_by_role("button", name="Draw").click()
        for number in range(1, CUTS + 1):
            seen = await page.evaluate(progress)
            await page.wait_for_function(f"({progress}) > {seen}", timeout=60_000)
            await cut_once(cutter, number, state)


@needs_chromium
async def test_a_page_of_another_origin_over_three_cuts(
    site: str, endpoints: Endpoints, state: State
) -> None:
    progress = "window.told.filter((message) => message.type === 'progress').length"
    async with (
        cut_off(endpoints) as (cutter, sure),
        opened(f"{site}/page.html", endpoints, cutter) as page,
    ):
        await draw_over_three_cuts(page, cutter, endpoints, state, progress)
        truth = asyncio.create_task(heard(sure.job(await page.evaluate("jobId")).events(150)))
        with slow_steps(endpoints, 1):
            found = await (await page.wait_for_function("window.found")).json_value()
            told = [server_message.validate_python(each) for each in await page.evaluate("told")]
            assert_nothing_lost_or_doubled(told, await truth)  # type: ignore[arg-type]
        await _assert_picture(page)
    assert found.get("error") is None
    assert found["size"] == found["bytes"]
    assert found["upload"].startswith("upload:upl_")
    assert found["sent"][-1] == found["canvas"]
    assert cutter.answered > CUTS


async def _assert_picture(page: Page) -> None:
    await page.wait_for_function("document.querySelector('img')?.complete")
    assert await page.evaluate("document.querySelector('img').naturalWidth") == PROMPT["width"]


@needs_chromium
async def test_a_react_page_over_three_cuts(
    site: str, endpoints: Endpoints, state: State, tmp_path: Path
) -> None:
    """React draws each component twice here (StrictMode), so a socket that is left open shows."""
    photo = tmp_path / "photo.png"
    Image.new("RGB", (8, 8)).save(photo)
    progress = "window.seen.filter((job) => job.status === 'running').length"
    async with (
        cut_off(endpoints) as (cutter, _),
        opened(f"{site}/react.html", endpoints, cutter) as page,
    ):
        await draw_over_three_cuts(page, cutter, endpoints, state, progress)
        with slow_steps(endpoints, 1):
            await page.get_by_text("succeeded").wait_for(timeout=60_000)
        await _assert_picture(page)
        await page.locator("input").set_input_files(photo)
        await page.get_by_text(re.compile("^upload:upl_")).wait_for()
        seen = await page.evaluate(
            "seen.map(({status, progress, error, artifacts}) => "
            "[status, progress, String(error), artifacts.length])"
        )
    assert {error for _, _, error, _ in seen} == {"undefined"}
    states = [state for state, *_ in seen if state]
    changes = [each for n, each in enumerate(states) if n == 0 or each != states[n - 1]]
    # An idle worker may have begun before the page listened.
    assert changes[changes[0] == "queued" :] == ["running", "queued", "running", "succeeded"]
    assert seen[-1][1:] == [1, "undefined", 1]
    assert cutter.answered > CUTS


# --- files, and the examples ----------------------------------------------------------------------


def test_a_node_program_uploads_downloads_cancels_and_lists(
    folder: Path, endpoints: Endpoints, tmp_path: Path
) -> None:
    photo = tmp_path / "photo.png"
    Image.effect_noise((64, 64), 50).convert("RGB").save(photo)
    found = json.loads(node(endpoints, folder / "files.mjs", str(photo)))
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


def node(endpoints: Endpoints, program: Path, *arguments: str) -> str:
    """What the program prints; it runs in its own folder."""
    command = [NODE, program, *arguments]
    return printed(command, environment(endpoints), folder=program.parent, seconds=150)


def examples(page: str) -> list[str]:
    return re.findall(r"```ts\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


def test_the_first_example_of_the_package_runs(folder: Path, endpoints: Endpoints) -> None:
    example = examples("clients/typescript/README.md")[0]
    program = folder / "first.mts"
    program.write_text(re.sub(r"new Comfyline\(\{.*?\}\)", "new Comfyline()", example))
    assert node(endpoints, program).splitlines()[-1] == "succeeded "


def test_the_example_that_saves_files_runs(folder: Path, endpoints: Endpoints) -> None:
    (example,) = (each for each in examples("docs/typescript.md") if "node:fs" in each)
    (folder / "pictures").mkdir(exist_ok=True)
    program = folder / "save.mts"
    program.write_text(example)
    node(endpoints, program)
    (picture,) = (folder / "pictures").iterdir()
    with Image.open(picture) as image:
        assert image.size == (512, 512)
