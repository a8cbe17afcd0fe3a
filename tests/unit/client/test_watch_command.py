"""Watching jobs in a terminal, in a pipe and as JSON, and the exit codes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import get_args

import httpx
import pytest
from rich.console import Console

from comfyline.client import screen
from comfyline.client.cli import watching
from comfyline.client.progress import display
from comfyline.contract.v1 import common, responses
from comfyline.contract.v1.socket import JobMessage, ProgressMessage, StatusMessage
from tests.unit.client.commands import lines, run
from tests.unit.client.fakes import JOB, OTHER, Service, accepted, artifact, job_view, succeeded


def test_watch_prints_a_line_for_each_change_and_then_the_paths(tmp_path: Path) -> None:
    def files(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=iter([b"pixels"]))

    job = succeeded(artifact())
    running = job_view("running", 2)
    history = {"job_id": JOB, "events": [], "messages": []}
    service = Service(accepted(), running, job_view("running", 3), job, history, job, files)
    result = run(service, "submit", "a fox", "--out", str(tmp_path / "out"))
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        JOB,
        "running    42%",
        "running    42%  KSampler step 8/20",
        "succeeded 100%",
        "succeeded 100%  fox.png",
        str(tmp_path / "out" / "fox.png"),
    ]
    assert (tmp_path / "out" / "fox.png").read_bytes() == b"pixels"


def test_json_prints_json_lines_only(tmp_path: Path) -> None:
    job = succeeded(artifact())
    service = Service(accepted(), job, job, httpx.Response(200, content=iter([b"pixels"])))
    result = run(service, "submit", "a fox", "--out", str(tmp_path), "--json")
    assert [line["type"] for line in lines(result)] == [
        "accepted",
        "status",
        "artifact",
        "done",
        "saved",
    ]
    assert lines(result)[-1]["path"] == str(tmp_path / "fox.png")
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("status", "code"), [("succeeded", 0), ("failed", 1), ("canceled", 3), ("expired", 4)]
)
def test_the_exit_code_says_how_the_job_ended(status: str, code: int, tmp_path: Path) -> None:
    error = {"type": "node_error", "message": "No such model.", "node_id": "4", "attempt": 2}
    job = job_view(status, 9, error=error if status == "failed" else None)
    result = run(Service(job), "watch", JOB)
    assert result.exit_code == code
    assert ("No such model.\n  node_error, node 4" in result.stderr) is (status == "failed")
    assert set(watching.EXIT_CODES) == set(get_args(common.EndStatus))


@pytest.mark.parametrize(
    ("result", "note"),
    [
        ({"empty_reason": "Its nodes have written no file."}, "Its nodes have written no file."),
        ({"partial": True}, "Some outputs of the workflow are missing."),
        ({"warnings": [{"type": "t", "message": "b.png is missing"}]}, "b.png is missing"),
        ({"values_cut": ["7.bg_image"]}, "no room: 7.bg_image"),
    ],
)
def test_what_a_job_did_not_make_is_told_on_stderr(result: dict[str, object], note: str) -> None:
    job = job_view("succeeded", 9, progress=1.0, result={"artifacts": [], **result})
    shown = run(Service(job), "watch", JOB)
    assert shown.exit_code == 0
    assert note in shown.stderr
    assert note not in shown.stdout
    assert "Save the files" not in shown.stderr
    assert run(Service(job), "watch", JOB, "--json").stderr == ""


def test_ctrl_c_leaves_the_job_running_and_prints_how_to_continue() -> None:
    def press(request: httpx.Request) -> httpx.Response:
        raise KeyboardInterrupt

    service = Service(job_view(), press)
    result = run(service, "watch", JOB, "--out", "my pictures")
    assert result.exit_code == 130
    assert f"comfyline watch {JOB} --out 'my pictures'" in result.stderr
    assert f"comfyline cancel {JOB}" in result.stderr
    assert {request.method for request in service.requests} == {"GET"}


def test_ctrl_c_during_a_download_prints_how_to_continue(tmp_path: Path) -> None:
    def press(request: httpx.Request) -> httpx.Response:
        raise KeyboardInterrupt

    job = succeeded(artifact())
    result = run(Service(job, job, press), "watch", JOB, "--out", str(tmp_path / "out"))
    assert result.exit_code == 130
    assert f"interrupted. Continue it: comfyline watch {JOB} --out" in result.stderr


def test_files_that_cannot_be_saved_fail_the_command(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    result = run(Service(succeeded(artifact())), "watch", JOB, "--out", str(blocked / "out"))
    assert result.exit_code == 1
    assert "cannot save the files" in result.stderr


def ended_jobs(**ends: str) -> Service:
    """A service with two jobs, which have succeeded unless `ends` has another state."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/jobs"):
            state = request.url.params["status"]
            jobs = (
                [job_view(state, 1)]
                if state == "running"
                else [{**job_view(state, 1), "job_id": OTHER}]
            )
            return httpx.Response(200, json={"jobs": jobs, "next_cursor": None})
        job_id = request.url.path.rpartition("/")[2]
        view = job_view(ends[job_id], 9) if job_id in ends else succeeded()
        return httpx.Response(200, json={**view, "job_id": job_id})

    return Service(answer)


def test_watching_several_jobs_prints_the_id_on_each_line() -> None:
    result = run(ended_jobs(**{OTHER: "expired"}), "watch", JOB, OTHER)
    assert result.stdout.splitlines() == [f"{JOB}  succeeded 100%", f"{OTHER}  expired    42%"]
    assert result.exit_code == 4
    assert f"Job {OTHER} expired" in result.stderr


def test_watch_all_follows_the_jobs_that_have_not_ended() -> None:
    result = run(ended_jobs(), "watch", "--all", "--json")
    assert {line["job_id"] for line in lines(result)} == {JOB, OTHER}
    assert result.exit_code == 0


def test_watch_all_without_jobs_and_watch_without_arguments() -> None:
    result = run(Service({"jobs": [], "next_cursor": None}), "watch", "--all")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "No jobs" in result.stderr
    for args in ([], [JOB, "--all"], [JOB, "nonsense"]):
        assert run(Service(job_view()), "watch", *args).exit_code == 2


def test_files_of_several_jobs_get_a_directory_each(tmp_path: Path) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == "files.test":
            return httpx.Response(200, content=iter([b"pixels"]))
        job_id = request.url.path.rpartition("/")[2]
        return httpx.Response(200, json={**succeeded(artifact()), "job_id": job_id})

    result = run(Service(answer), "watch", JOB, OTHER, "--out", str(tmp_path))
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([JOB, OTHER])
    assert (tmp_path / JOB / "fox.png").read_bytes() == b"pixels"


def test_retry_prints_the_new_job_and_can_watch_it() -> None:
    result = run(Service(accepted()), "retry", JOB)
    assert (result.exit_code, result.stdout) == (0, f"{JOB}\n")
    assert "comfyline watch" in result.stderr
    service = Service(accepted(), succeeded())
    result = run(service, "retry", JOB, "--watch", "--json")
    assert result.exit_code == 0
    assert [line["type"] for line in lines(result)] == ["accepted", "status", "done"]


def test_a_terminal_shows_one_live_bar() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100, color_system=None)
    job = responses.JobView.model_validate(job_view())
    with display(console, [JOB], as_json=False) as show:
        for message in messages_of(job):
            show(message)
    assert "running" in out.getvalue()
    assert "42%" in out.getvalue()
    assert "KSampler step 8/20" in out.getvalue()


def messages_of(job: responses.JobView) -> list[JobMessage]:
    at = {"job_id": job.job_id, "version": 1, "progress": 0.42}
    return [
        StatusMessage.model_validate({**at, "status": "running", "attempt": 1}),
        ProgressMessage.model_validate({**at, **job.progress_detail.model_dump()}),
    ]


def test_a_terminal_shows_a_bar_for_each_job() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=110)
    with display(console, [JOB, OTHER], as_json=False) as show:
        waits = {"status": "queued", "progress": 0, "attempt": 0, "queue_position": 3}
        show(StatusMessage(job_id=JOB, version=1, **waits))  # type: ignore[arg-type]
        show(ProgressMessage(job_id=OTHER, version=4, progress=0.5, message="step 1/2"))
    text = out.getvalue()
    assert "number 3 in the queue" in text
    assert "50%" in text
    assert JOB[:12] in text
    assert OTHER[:12] in text


def test_a_node_without_steps_is_named_once() -> None:
    at = {"job_id": JOB, "version": 1, "progress": 0.9, "node": "8", "node_type": "VAEDecode"}
    named = ProgressMessage.model_validate({**at, "message": "VAEDecode"})
    assert screen.what_runs(named) == "VAEDecode"
