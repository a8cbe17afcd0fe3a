"""The deployed service. Tests speak to its public surfaces; a few look at the engine's record of
what it executed, or end a worker's process, which no public surface can.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from comfyline.client import Comfyline
from localcloud.processes import of_cloud
from localcloud.state import DEFAULT_STATE, ROOT, Endpoints, State

WORKERS = 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The last test's time is its own: what ends the deployment waits for the sweeper."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent) and not item.get_closest_marker(
            "timeout"
        ):
            item.add_marker(pytest.mark.timeout(120, func_only=True))


def make(target: str, **variables: object) -> subprocess.CompletedProcess[str]:
    """Run a target of the Makefile, as a person would."""
    arguments = [f"{name}={value}" for name, value in variables.items()]
    return subprocess.run(
        ["make", "--no-print-directory", target, *arguments],
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def audit(state: State) -> subprocess.CompletedProcess[str]:
    """What the auditor says about everything that the tests have left."""
    command = [sys.executable, "-m", "localcloud", "audit", "--state", str(state.folder)]
    return subprocess.run(
        [*command, "--wait", "240"],  # the sweeper comes each minute
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="session")
def state(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[State]:
    """The folder of the deployment that the tests are run against."""
    given = pytestconfig.getoption("--endpoints")
    if given or pytestconfig.getoption("--target") != "local":
        yield State(Path(given).parent if given else DEFAULT_STATE)
        return
    state = State(tmp_path_factory.mktemp("cloud"))
    started = make("up", STATE=state.folder, PORT=0, WORKERS=WORKERS)
    assert started.returncode == 0, started.stdout + started.stderr
    yield state
    audited = audit(state)
    stopped = make("down", STATE=state.folder)
    assert stopped.returncode == 0, stopped.stderr
    assert not list(of_cloud(state)), "make down has left a process behind"
    assert audited.returncode == 0, audited.stdout + audited.stderr


@pytest.fixture(scope="session")
def endpoints(state: State) -> Endpoints:
    """Where everything was at first; a worker that is started again has another pid."""
    found = state.read()
    assert found is not None, f"nothing is up: there is no endpoints.json in {state.folder}"
    return found


@pytest.fixture
def api(endpoints: Endpoints) -> Iterator[httpx.Client]:
    """The API as raw HTTP, with the first owner's key."""
    headers = {"Authorization": f"Bearer {endpoints.api_key}"}
    base = f"{endpoints.api_url}/api/v1"
    with httpx.Client(base_url=base, headers=headers, timeout=30, trust_env=False) as http:
        yield http


@pytest.fixture
def client(endpoints: Endpoints) -> Iterator[Comfyline]:
    """The first owner's client."""
    with Comfyline(endpoints.api_url, endpoints.api_key, endpoints.ws_url) as one:
        yield one


@pytest.fixture
def stranger(endpoints: Endpoints) -> Iterator[Comfyline]:
    """Another owner's client."""
    with Comfyline(endpoints.api_url, endpoints.second_api_key, endpoints.ws_url) as one:
        yield one


@pytest.fixture
def local(pytestconfig: pytest.Config) -> None:
    """The test ends processes or looks into the simulator: only where they are ours."""
    if pytestconfig.getoption("--target") != "local":
        pytest.skip("only on a local cloud")


def executed(endpoints: Endpoints) -> int:
    """How many prompts the engines have begun to execute so far."""
    answers = [
        httpx.get(f"{url}/sim/executed", trust_env=False).json() for url in endpoints.comfyui_urls
    ]
    return sum(int(answer["count"]) for answer in answers)
