"""Which jobs commands mean: ids, their beginnings, `last`, labels, times, and what shells offer."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import typer
from typer.testing import CliRunner

from comfyline.client import cli
from comfyline.client.cli import arguments
from comfyline.client.cli.commands.jobs import MAX_SEARCHES
from tests.unit.client.commands import lines, run
from tests.unit.client.fakes import JOB, OTHER, Service, job_view, problem

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def job(job_id: str = JOB, status: str = "succeeded", **changes: Any) -> dict[str, Any]:
    return {**job_view(status, **changes), "job_id": job_id}


def listing(*jobs: dict[str, Any]) -> Service:
    """A service with these jobs, newest first."""

    def answer(request: httpx.Request) -> httpx.Response:
        name = request.url.path.rpartition("/")[2]
        if name == "jobs":
            state = request.url.params.get("status")
            page = [each for each in jobs if state in (None, each["status"])]
            return httpx.Response(200, json={"jobs": page, "next_cursor": None})
        if request.method == "DELETE":
            gone = httpx.Response(404, json=problem(404, "job_not_found", "Gone.").json())
            ok = {"job_id": name, "status": "canceled", "message": "It never ran."}
            return httpx.Response(202, json=ok) if any(j["job_id"] == name for j in jobs) else gone
        return httpx.Response(200, json=next(each for each in jobs if each["job_id"] == name))

    return Service(answer)


@pytest.mark.parametrize("given", ["last", JOB[:8], JOB[:12], JOB[4:10]])
def test_a_job_is_meant_by_last_or_its_beginning(given: str) -> None:
    result = run(listing(job(), job(OTHER)), "get", given, "--json")
    assert result.exit_code == 0, result.output
    assert lines(result)[0]["job_id"] == JOB


def test_an_id_that_means_no_job_or_several_is_refused() -> None:
    alike = JOB[:20] + "0" * 10
    for service, given in (
        (listing(), "last"),
        (listing(job()), "job_zzzz"),
        (listing(job(), job(alike)), JOB[:12]),
    ):
        assert run(service, "get", given).exit_code == 2
        assert run(service, "cancel", given, "--purge").exit_code == 2
        assert all(request.method == "GET" for request in service.requests)


def test_a_whole_id_is_not_looked_up() -> None:
    service = listing(job())
    assert run(service, "get", JOB).exit_code == 0
    assert len(service.requests) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", NOW - timedelta(seconds=90)),
        ("30min", NOW - timedelta(minutes=30)),
        ("2h", NOW - timedelta(hours=2)),
        ("7 d", NOW - timedelta(days=7)),
        ("2026-01-31T10:00+01:00", datetime(2026, 1, 31, 9, tzinfo=UTC)),
    ],
)
def test_since_is_a_span_or_a_time(text: str, expected: datetime) -> None:
    assert arguments.moment(text, NOW) == expected


@pytest.mark.parametrize(
    "text", ["", "soon", "-2h", "2 years", "9" * 9 + "w", "2026-13-01", "1e3h"]
)
def test_since_is_refused_if_it_is_no_time(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is not a time"):
        arguments.moment(text, NOW)


def test_jobs_are_found_by_labels_and_time() -> None:
    old = {"queued_at": "2020-01-01T00:00:00Z"}
    new = {"queued_at": datetime.now(UTC).isoformat()}
    service = listing(job(JOB, timestamps=new), job(OTHER, timestamps=old))

    def found(*args: str) -> list[str]:
        return [line["job_id"] for line in lines(run(service, "list", *args, "--json"))]

    assert found("--since", "2h") == [JOB]
    assert found("--since", "2019-01-01") == [JOB, OTHER]
    found("--meta", "album=foxes", "--meta", "n=2")
    asked = dict(service.requests[-1].url.params)
    assert asked == {"limit": "20", "metadata[album]": "foxes", "metadata[n]": "2"}
    assert run(service, "list", "--meta", "album").exit_code == 2


def test_a_search_for_labels_ends() -> None:
    service = Service({"jobs": [], "next_cursor": "more"})
    result = run(service, "list", "--meta", "album=foxes")
    assert "newest 10,000 jobs" in result.stderr
    assert len(service.requests) == MAX_SEARCHES + 1


def test_events_are_shown_oldest_first() -> None:
    at = {"at": "2026-01-02T03:04:05Z", "attempt": 1, "status": "running"}
    events = [{**at, "version": 2, "event": "start\x1b[2Jed"}]
    service = Service({"job_id": JOB, "events": events, "messages": []})
    assert run(service, "events", JOB, "--after", "1").stdout == (
        "   2  2026-01-02 03:04:05 UTC  running    start?[2Jed  attempt 1\n"
    )
    assert service.requests[0].url.params["after"] == "1"


# --- cancel ---------------------------------------------------------------------------------------


def test_a_job_that_cannot_be_canceled_does_not_stop_the_others() -> None:
    service = listing(job(OTHER))
    result = run(service, "cancel", JOB, OTHER)
    assert result.exit_code == 1
    assert "Gone." in result.stderr
    assert result.stdout == f"{OTHER}  canceled: It never ran.\n"


def test_all_unfinished_jobs_are_canceled_after_a_question() -> None:
    jobs = (job(JOB, "running"), job(OTHER, "queued"), job(JOB[:-1] + "0", "succeeded"))
    refused = run(listing(*jobs), "cancel", "--all", stdin="n\n")
    assert refused.exit_code == 1
    assert "canceled" not in refused.stdout
    assert "Cancel 2 jobs?" in refused.stderr
    for args, stdin in (((), "y\n"), (("--yes",), None)):
        service = listing(*jobs)
        assert run(service, "cancel", "--all", *args, stdin=stdin).exit_code == 0
        deleted = [r.url.path.rpartition("/")[2] for r in service.requests if r.method == "DELETE"]
        assert deleted == [JOB, OTHER]
    assert "No jobs" in run(listing(), "cancel", "--all").stderr
    for wrong in ((), (JOB, "--all"), ("--all", "--purge")):
        assert run(listing(), "cancel", *wrong).exit_code == 2


# --- open -----------------------------------------------------------------------------------------


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    urls: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda url: bool(urls.append(url)) or True)
    return urls


def linking(url: str) -> Service:
    return Service({"url": url, "url_expires_at": "2026-01-02T03:04:05Z"})


def test_open_shows_the_file_with_the_number(opened: list[str]) -> None:
    service = linking("https://files.test/b?signature=1")
    result = run(service, "open", JOB, "--number", "1")
    assert opened == ["https://files.test/b?signature=1"]
    assert result.stdout.split() == opened
    (asked,) = service.requests
    assert asked.url.path.endswith(f"/{JOB}/artifacts/1")
    assert asked.url.params["disposition"] == "inline"


def test_open_lets_the_browser_save_what_it_cannot_show(opened: list[str]) -> None:
    link = {"url": "https://files.test/b", "url_expires_at": "2026-01-02T03:04:05Z"}
    service = Service(problem(422, "invalid_request", "It cannot be shown."), link)
    assert run(service, "open", JOB).exit_code == 0
    assert opened == ["https://files.test/b"]
    assert "disposition" not in service.requests[1].url.params


def test_open_says_that_there_is_no_such_file(opened: list[str]) -> None:
    service = Service(problem(404, "artifact_not_found", "The job has no file 7."))
    result = run(service, "open", JOB, "--number", "7")
    assert (result.exit_code, opened) == (1, [])
    assert "no file 7" in result.stderr


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "javascript:alert(1)", "--help", "https://", "https://a\nb", "[::"],
)
def test_open_opens_the_web_only(opened: list[str], url: str) -> None:
    result = run(linking(url), "open", JOB)
    assert (result.exit_code, opened) == (1, [])
    assert "no web address" in result.stderr


def test_open_without_a_browser_prints_the_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webbrowser.open", lambda _url: False)
    result = run(linking("https://files.test/a"), "open", JOB)
    assert result.exit_code == 0
    assert "Open the URL yourself" in result.stderr


# --- what the shell offers ------------------------------------------------------------------------


def offered(service: Service, words: str, shell: str = "zsh") -> str:
    variables = {"_COMFYLINE_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": words}
    variables |= {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split()))}
    variables |= {"_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    return (
        CliRunner()
        .invoke(cli.app, [], obj=service.client(), env=variables, prog_name="comfyline")
        .output
    )


EVIL = job(params={"prompt": "$(touch /tmp/x) `id` '); rm -rf ~ #\x1b[2J\n\""})


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_is_offered_ids_and_nothing_that_it_runs(shell: str) -> None:
    text = offered(listing(EVIL, job(OTHER, "failed")), "comfyline get ", shell)
    assert JOB in text
    assert OTHER in text
    assert re.search(r"[`;\x1b#~]|\$\(", text.replace("_arguments '*: :((", "")) is None


def test_a_command_is_offered_the_jobs_that_it_is_of_use_for() -> None:
    service = listing(job(JOB, "running"), job(OTHER, "failed"))
    canceled, retried = (offered(service, f"comfyline {c} ", "bash") for c in ("cancel", "retry"))
    assert (JOB in canceled, OTHER in canceled) == (True, False)
    assert (JOB in retried, OTHER in retried) == (False, True)


def test_completion_prints_no_error() -> None:
    for answer in (httpx.ConnectError("refused"), httpx.Response(401), httpx.Response(200)):
        assert offered(Service(answer), "comfyline get ", "bash").strip() in ("", "last")


# --- how a command ends ---------------------------------------------------------------------------


def test_an_unexpected_error_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(Service(RuntimeError("broken\x1b[2J")), "list")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[0] == "Error: RuntimeError: broken?[2J"
    assert "Traceback" not in result.output
    monkeypatch.setenv("COMFYLINE_DEBUG", "1")
    assert isinstance(run(Service(KeyError("broken")), "list").exception, KeyError)


def test_a_reader_that_ends_early_ends_the_command_without_a_word() -> None:
    command = [sys.executable, "-c", "from comfyline.client.cli import app; app()", "--help"]
    program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert program.stdout is not None
    program.stdout.close()
    _, complaint = program.communicate(timeout=30)
    assert "Traceback" not in (complaint or "")
    assert "Error" not in (complaint or "")


def test_the_order_of_commands_is_always_the_same() -> None:
    first, second = (CliRunner().invoke(cli.app, ["--help"]).stdout for _ in range(2))
    assert first == second
    commands = re.findall(r"│ ([a-z]+) {2,}", first)
    assert commands.index("submit") < commands.index("get") < commands.index("doctor")


@pytest.mark.parametrize("command", [["list"], ["get", JOB], ["submit", "a fox"], ["doctor"]])
def test_ctrl_c_ends_a_command_without_a_word(command: list[str]) -> None:
    def press(_request: httpx.Request) -> httpx.Response:
        raise KeyboardInterrupt

    result = run(Service(press), *command)
    assert result.exit_code == 130
    assert "Traceback" not in result.output


LISTS = """
import httpx
from comfyline.client import Comfyline
from comfyline.client.cli import app
from tests.unit.client.test_ids_command import job
page = httpx.Response(200, json={"jobs": [job()] * 100, "next_cursor": "more"})
answer = httpx.MockTransport(lambda _: httpx.Response(200, content=page.content))
app(["list", "--limit", "9999"], obj=Comfyline("https://x.test", "cl_1_2", transport=answer))
"""


def test_a_list_that_is_cut_off_by_head_ends_without_a_word() -> None:
    command = [sys.executable, "-c", LISTS]
    program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert program.stdout is not None
    assert program.stdout.readline().startswith(JOB)
    program.stdout.close()
    assert program.stderr is not None
    assert program.stderr.read() == ""
    program.stderr.close()
    assert program.wait(30) != 0
