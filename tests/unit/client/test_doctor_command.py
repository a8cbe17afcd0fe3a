"""`comfyline doctor` and `comfyline status`: what they find, and what to do about it."""

from __future__ import annotations

import json
import socket
import ssl
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from comfyline.client import cli
from comfyline.client.cli.errors import reason_of
from comfyline.client.cli.load import Load
from comfyline.contract.v1.responses import JobView
from tests.support.eventually import WITHIN
from tests.unit.client.commands import lines, run
from tests.unit.client.fakes import JOB, Service, artifact, job_view, live, problem, succeeded

ME = {"owner": "ann", "scopes": ["jobs"]}
FORM = {"upload_id": "u", "url": "https://files.test/form", "fields": {}}
FORM["expires_at"] = "2026-01-02T03:04:05Z"


def healthy(**changes: Any) -> Service:
    """A service without faults, but for the answers that are changed, by the end of the path."""
    page = {"jobs": [job_view("succeeded")], "next_cursor": None}
    answers: dict[str, Any] = {
        "healthz": httpx.Response(200, json={"status": "ok"}),
        "me": httpx.Response(200, json=ME),
        "openapi.json": httpx.Response(200, json={"info": {"version": "1"}}),
        "jobs": httpx.Response(200, json=page),
        JOB: httpx.Response(200, json=succeeded(artifact())),
        "files.test": httpx.Response(206, content=b"p"),
        **changes,
    }

    def answer(request: httpx.Request) -> httpx.Response:
        is_file = request.url.host == "files.test"
        found = answers["files.test" if is_file else request.url.path.rpartition("/")[2]]
        if isinstance(found, Exception):
            raise found
        assert isinstance(found, httpx.Response)
        return httpx.Response(found.status_code, content=found.content, headers=found.headers)

    return Service(answer)


def states(result: Result) -> dict[str, str]:
    return {line["name"]: line["state"] for line in lines(result)}


def test_a_healthy_service_has_no_fault() -> None:
    def answer_a_ping(connection: Any) -> None:
        assert json.loads(connection.recv(timeout=WITHIN)) == {"action": "ping"}
        connection.send('{"type": "pong"}')

    with live(answer_a_ping) as server:
        found = CliRunner().invoke(cli.app, ["doctor", "--json"], obj=healthy().client(server.url))
    assert found.exit_code == 0, found.output
    assert set(states(found).values()) == {"ok"}
    assert list(states(found)) == [
        *("settings", "reach", "clock", "key", "version", "socket", "files")
    ]
    assert server.keys == ["Bearer cl_abc_secret"]
    assert "secret" not in found.output


REFUSED = httpx.ConnectError("refused")
REFUSED.__cause__ = ConnectionRefusedError()


@pytest.mark.parametrize(
    ("changes", "name", "state", "to_do"),
    [
        ({"healthz": REFUSED}, "reach", "wrong", "make up"),
        ({"healthz": httpx.Response(200, content=b"<html>")}, "reach", "wrong", "COMFYLINE_URL"),
        ({"healthz": httpx.Response(404)}, "reach", "wrong", "COMFYLINE_URL"),
        (
            {"me": problem(401, "unauthorized", "No such key.")},
            "key",
            "wrong",
            "comfyline login",
        ),
        ({"me": problem(403, "forbidden", "No.")}, "key", "wrong", "scope"),
        ({"openapi.json": httpx.Response(404)}, "version", "warning", "install the client"),
        ({"openapi.json": httpx.Response(200, json=[1])}, "version", "warning", "install"),
        ({"files.test": httpx.Response(403)}, "files", "wrong", "proxy"),
        ({"files.test": httpx.ConnectError("x")}, "files", "wrong", "another host"),
        ({JOB: problem(404, "job_not_found", "Gone.")}, "files", "warning", "Submit a job"),
    ],
)
def test_each_fault_is_found_and_says_what_to_do(
    changes: dict[str, Any], name: str, state: str, to_do: str
) -> None:
    result = run(healthy(**changes), "doctor", "--json")
    (found,) = (line for line in lines(result) if line["name"] == name)
    assert (found["state"], result.exit_code) == (state, int(state == "wrong"))
    assert to_do in found["to_do"]
    shown = run(healthy(**changes), "doctor").stdout
    assert f"{state:<8}{name}" in shown
    assert to_do in shown


def test_without_a_service_there_are_no_further_checks() -> None:
    result = run(healthy(healthz=REFUSED), "doctor", "--json")
    assert list(states(result)) == ["settings", "reach"]


@pytest.mark.parametrize(("seconds", "side"), [(-3600, "ahead of"), (3600, "behind")])
def test_a_wrong_clock_is_found(seconds: int, side: str) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)
    health = httpx.Response(200, json={"status": "ok"}, headers={"date": date})
    (clock,) = (c for c in lines(run(healthy(healthz=health), "doctor", "--json"))[2:3])
    assert clock["state"] == "warning"
    assert side in clock["found"]


@pytest.mark.parametrize("date", ["", "yesterday", "Thu, 99 Foo 2026"])
def test_a_date_that_cannot_be_read_is_no_fault(date: str) -> None:
    health = httpx.Response(200, json={"status": "ok"}, headers={"date": date})
    assert states(run(healthy(healthz=health), "doctor", "--json"))["clock"] == "ok"


def test_a_socket_that_is_closed_or_unknown_is_no_reason_to_fail() -> None:
    result = run(healthy(), "doctor", "--json")
    assert (states(result)["socket"], result.exit_code) == ("warning", 0)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"ws://127.0.0.1:{unused.getsockname()[1]}/live"
        found = CliRunner().invoke(cli.app, ["doctor"], obj=healthy().client(url))
    assert found.exit_code == 0
    assert "COMFYLINE_WS_URL" in found.stdout


def test_without_a_file_the_store_is_knocked_at() -> None:
    nothing = httpx.Response(200, json={"jobs": [], "next_cursor": None})
    form = httpx.Response(201, json=FORM)
    changes = {"jobs": nothing, "uploads": form, "files.test": httpx.Response(405)}
    result = run(healthy(**changes), "doctor", "--json")
    assert states(result)["files"] == "ok"


def test_texts_of_the_service_are_inert() -> None:
    me = httpx.Response(200, json={**ME, "owner": "\x1b[2Jann[red]"})
    assert "belongs to ?[2Jann[red]" in run(healthy(me=me), "doctor").stdout


def test_a_service_of_an_earlier_version_tells_the_owner_too() -> None:
    used = httpx.Response(200, json={"owner": "ann", "gpu_seconds": 0, "jobs": 0})
    unknown = problem(404, "route_not_found", "No such path.")
    assert "belongs to ann" in run(healthy(me=unknown, usage=used), "doctor").stdout


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionRefusedError(), "Nothing listens"),
        (socket.gaierror(-2, "Name or service not known"), "name of the host is unknown"),
        (ssl.SSLCertVerificationError("self-signed"), "does not trust the certificate"),
        (ssl.SSLError("wrong version number"), "does not speak TLS"),
        (httpx.ConnectTimeout("slow"), "Nothing answered in time"),
        (OSError("no route to host"), "network"),
        (ValueError(), "COMFYLINE_URL"),
    ],
)
def test_the_likely_reason_is_told(error: Exception, reason: str) -> None:
    outer = httpx.ConnectError("all connection attempts failed")
    outer.__cause__ = error
    assert reason in reason_of(outer)


# --- status ---------------------------------------------------------------------------------------

METRICS = """# HELP comfyui_queue_depth Tickets that wait in a lane.
# TYPE comfyui_queue_depth gauge
comfyui_queue_depth{priority="high"} 0.0
comfyui_queue_depth{priority="normal"} 12.0
comfyui_active_workers 3.0
comfyui_unhealthy_workers 1.0
comfyui_running_jobs 2.0
comfyui_job_wait_seconds_bucket{le="10.0"} 4.0
comfyui_job_wait_seconds_count 4.0
comfyui_job_wait_seconds_sum 480.0
nonsense{ 1e+
comfyui_broken 1e+
"""


def load_of(metrics: httpx.Response, *args: str) -> Result:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/metrics":
            return metrics
        state = request.url.params["status"]
        jobs = [job_view("queued", 1, queue_position=7)] if state == "queued" else []
        return httpx.Response(200, json={"jobs": jobs, "next_cursor": None})

    return run(Service(answer), "status", *args)


def test_status_shows_the_queue_the_workers_and_the_wait() -> None:
    shown = load_of(httpx.Response(200, text=METRICS)).stdout.splitlines()
    assert [" ".join(line.split()) for line in shown] == [
        "your jobs 1 queued",
        "your next job about number 7 in the queue",
        "queue 12 waiting (0 high, 12 normal)",
        "running 2 jobs",
        "workers 3 active, 1 of them out of order",
        "mean wait 2 min, of all ended jobs",
    ]
    (as_json,) = lines(load_of(httpx.Response(200, text=METRICS), "--json"))
    assert as_json["mine"] == {"jobs": {"queued": 1}, "next_place": 7}
    assert as_json["service"]["waiting"] == {"high": 0, "normal": 12}
    assert as_json["service"]["mean_wait_seconds"] == 120


def test_status_without_the_scope_admin_shows_the_callers_jobs() -> None:
    refused = load_of(problem(403, "forbidden", "It needs the scope admin."))
    assert refused.exit_code == 0
    assert "only a key with the scope admin" in refused.stdout
    assert lines(load_of(problem(403, "forbidden", "No."), "--json"))[0]["service"] is None


def test_a_load_without_jobs_has_no_wait() -> None:
    load = Load.of([JobView.model_validate(job_view())], "")
    assert load.mean_wait is None
    assert dict(load.lines())["your jobs"] == "1 running"
