"""Fixtures for tests against the deployed service.

Most tests use its public API only. A few read the number of prompts that the simulated engines have
executed, or kill worker processes, because the public API offers neither.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page

from comfyline.client import Comfyline
from localcloud.processes import of_cloud
from localcloud.state import DEFAULT_STATE, ROOT, Endpoints, State
from tests.e2e.console import a_page, sign_in
from tests.support import web
from tests.support.browser import a_browser

WORKERS = 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Do not count the fixtures of an e2e test in its time, and run test_permissions.py last.

    That module has a deployment of its own, so the audit of the shared one runs beside it. The
    fixture that ends the shared deployment runs after the last test and waits for the audit.
    """
    items.sort(key=lambda item: item.path.name == "test_permissions.py")
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent) and not item.get_closest_marker(
            "timeout"
        ):
            item.add_marker(pytest.mark.timeout(600, func_only=True))


def make(target: str, **variables: object) -> subprocess.CompletedProcess[str]:
    """Run a target of the Makefile, without the variables of a surrounding make."""
    arguments = [f"{name}={value}" for name, value in variables.items()]
    return subprocess.run(
        ["make", "--no-print-directory", target, *arguments],
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


class Audit:
    """Audits everything that the tests have left in a deployment, once.

    It takes minutes, because it waits for the sweeper. `begin` lets it run beside other tests.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._process: subprocess.Popen[str] | None = None

    def begin(self) -> subprocess.Popen[str]:
        """Start it, unless it runs already. From now on no test may use the deployment."""
        if self._process is None:
            command = [sys.executable, "-m", "localcloud", "audit"]
            self._process = subprocess.Popen(
                # In seconds; the sweeper runs once a minute.
                [*command, "--state", str(self._state.folder), "--wait", "600"],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        return self._process

    def assert_clean(self) -> None:
        """Wait for its end, and fail if it has found anything."""
        process = self.begin()
        report, _ = process.communicate(timeout=900)
        assert process.returncode == 0, report


# Of the deployment that most tests share, where this run has started one.
SHARED_AUDIT = pytest.StashKey[Audit]()


@pytest.fixture(scope="session")
def state(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[State]:
    """The state folder of the deployment under test."""
    given = pytestconfig.getoption("--endpoints")
    if given or pytestconfig.getoption("--target") != "local":
        yield State(Path(given).parent if given else DEFAULT_STATE)
        return
    with a_local_cloud(tmp_path_factory.mktemp("cloud")) as state:
        audit = pytestconfig.stash[SHARED_AUDIT] = Audit(state)
        yield state
        audit.assert_clean()


@contextmanager
def a_local_cloud(folder: Path) -> Iterator[State]:
    """A deployment on this machine, with its state in `folder`, until the block ends."""
    state = State(folder)
    started = make("up", STATE=state.folder, PORT=0, WORKERS=WORKERS)
    assert started.returncode == 0, started.stdout + started.stderr
    try:
        yield state
    finally:
        stopped = make("down", STATE=state.folder)
    assert stopped.returncode == 0, stopped.stderr
    assert not list(of_cloud(state)), "make down left processes running"


@pytest.fixture(scope="session")
def endpoints(state: State) -> Endpoints:
    """The endpoints at the start of the run. A worker that is restarted later has another pid."""
    found = state.read()
    assert found is not None, f"no deployment runs: {state.folder} has no endpoints.json"
    return found


@pytest.fixture
def api(endpoints: Endpoints) -> Iterator[httpx.Client]:
    """A plain HTTP client of the API, with the first owner's key."""
    headers = {"Authorization": f"Bearer {endpoints.api_key}"}
    base = f"{endpoints.api_url}/api/v1"
    with web.Client(base_url=base, headers=headers) as http:
        yield http


@pytest.fixture
def client(endpoints: Endpoints) -> Iterator[Comfyline]:
    """The Comfyline client of the first owner."""
    with Comfyline(endpoints.api_url, endpoints.api_key, endpoints.ws_url) as one:
        yield one


@pytest.fixture
def stranger(endpoints: Endpoints) -> Iterator[Comfyline]:
    """The Comfyline client of a second owner."""
    with Comfyline(endpoints.api_url, endpoints.second_api_key, endpoints.ws_url) as one:
        yield one


@pytest.fixture
def local(pytestconfig: pytest.Config) -> None:
    """Skip the test unless the cloud is local: it kills processes or reads the simulator."""
    if pytestconfig.getoption("--target") != "local":
        pytest.skip("only on a local cloud")


@pytest.fixture(scope="module")
def console_packages() -> None:
    """The console's packages, among them axe."""
    done = make("console/node_modules/.package-lock.json")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser for the tests of one file: its thread can run no other event loop meanwhile."""
    with a_browser() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, endpoints: Endpoints) -> Iterator[Page]:
    """The console's gallery of the first owner."""
    with a_page(browser, endpoints) as page:
        sign_in(page, endpoints.api_key)
        yield page


def executed(endpoints: Endpoints) -> int:
    """The number of prompts that the engines have begun to execute so far."""
    answers = [web.get(f"{url}/sim/executed").json() for url in endpoints.comfyui_urls]
    return sum(int(answer["count"]) for answer in answers)
