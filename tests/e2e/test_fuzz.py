"""Fuzz every operation of the running service from its own OpenAPI document, positive and negative.

`make test-long` sends at least 3,000 requests, the ordinary run at least 800.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from comfyline.client import Comfyline
from localcloud.state import Endpoints
from tests.e2e.account import Account, now
from tests.support import web
from tests.support.eventually import eventually_now

pytestmark = pytest.mark.timeout(3600)

SEED = 1
# Checks of schemathesis that do not suit this API, and why.
LEFT_OUT = {
    "positive_data_acceptance": "a schema cannot express which uploads exist or whether a graph "
    "has an output node",
    "use_after_free": "DELETE cancels a job, which can be read until its retention is over",
}


# They stop what other requests need, as soon as they get the id of a key from another answer. So
# they are sent afterwards, without the operations that list keys.
STOPS_OTHERS = ("disableAnyKey", "limitKey", "setSwitches")


def test_no_request_causes_a_server_error_or_an_undocumented_answer(
    endpoints: Endpoints, tmp_path: Path, is_long: bool
) -> None:
    excluded = (f"--exclude-operation-id={name}" for name in STOPS_OTHERS)
    sent = fuzzed(endpoints, tmp_path, is_long, *excluded)
    assert sent >= (3_000 if is_long else 800)


@pytest.mark.usefixtures("local")
def test_nor_does_a_request_that_stops_others(
    endpoints: Endpoints, tmp_path: Path, is_long: bool
) -> None:
    account = Account(endpoints)
    try:
        only = (f"--include-operation-id={name}" for name in STOPS_OTHERS)
        assert fuzzed(endpoints, tmp_path, is_long, *only) >= len(STOPS_OTHERS)
    finally:
        account.keys.switch({"jobs_enabled": True, "websocket_enabled": True}, now())
    # An authorizer keeps the switches for 5 s, and the gateway its answer for 30 s.
    eventually_now(lambda: takes_jobs(endpoints))


def takes_jobs(endpoints: Endpoints) -> bool:
    """Whether the service takes jobs and sockets of the key that was fuzzed with."""
    with Comfyline(endpoints.api_url, endpoints.api_key) as client:
        found = client.me()
    return bool(found.jobs_enabled and found.sockets_enabled)


def fuzzed(endpoints: Endpoints, tmp_path: Path, is_long: bool, *chosen: str) -> int:
    """The number of requests that were sent to the chosen operations."""
    document = tmp_path / "openapi.json"
    document.write_text(web.get(f"{endpoints.api_url}/openapi.json").text)
    report = tmp_path / "report.ndjson"
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("st")),
            *("run", str(document), "--url", endpoints.api_url),
            *("-H", f"Authorization: Bearer {endpoints.api_key}"),
            *("-H", "Prefer: wait=1"),  # so that no request waits longer than 1 s for its job
            *("--mode", "all", "--checks", "all", "--exclude-checks", ",".join(LEFT_OUT)),
            *("--max-examples", str(150 if is_long else 1)),
            *("--seed", str(SEED), "--workers", "1", "--continue-on-failure", "--no-color"),
            *("--suppress-health-check", "all", "--request-timeout", "30"),
            *("--report-ndjson-path", str(report)),
            *chosen,
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout[-3000:])
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-3000:]
    sent = requests_of(report)
    print(f"{sent} requests")
    return sent


def requests_of(report: Path) -> int:
    """The number of requests that schemathesis has sent and checked, in all of its phases."""
    events = map(json.loads, report.read_text().splitlines())
    ended = (event["ScenarioFinished"] for event in events if "ScenarioFinished" in event)
    return sum(len(scenario["recorder"].get("interactions", ())) for scenario in ended)
