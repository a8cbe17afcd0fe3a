"""The command line: what it asks the service, what it prints where, and how it exits."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner, Result

from comfyline.client import cli, view, watching
from comfyline.client.progress import following
from comfyline.contract.v1 import common, requests, responses
from comfyline.contract.v1.socket import JobMessage, ProgressMessage, StatusMessage
from tests.unit.client.fakes import JOB, Service, accepted, artifact, job_view, problem, succeeded


def history(*events: Any) -> dict[str, Any]:
    return {"job_id": JOB, "events": list(events)}


def run(service: Service, *args: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(cli.app, args, obj=service.client(), input=stdin)


def lines(result: Result) -> list[Any]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def sent(service: Service) -> Any:
    return json.loads(service.requests[0].content)


# --- submit --------------------------------------------------------------------------------------


def test_submit_prints_the_id_alone_on_stdout() -> None:
    result = run(Service(accepted()), "submit", "a fox")
    assert (result.exit_code, result.stdout) == (0, f"{JOB}\n")
    assert f"comfyline watch {JOB}" in result.stderr


def test_submit_sends_every_option_under_its_wire_name() -> None:
    service = Service(accepted())
    text = "a fox --negative wolf --width 640 --height 480 --steps 30 --cfg 6.5 --sampler heun"
    text += " --scheduler karras --seed 7 --model m.safetensors --batch-size 2 --priority high"
    words = text.removeprefix("a fox ").split()
    words += ["--start-deadline", "60", "--execution-timeout", "90", "--no-reuse"]
    words += ["--format", "webp", "--quality", "80", "--previews"]
    keyed = ["--meta", "a=b=c", "--meta", "d=", "--idempotency-key", "k1"]
    assert run(service, "submit", "a fox", *words, *keyed).exit_code == 0
    assert sent(service) == {
        "prompt": "a fox",
        "negative_prompt": "wolf",
        "width": 640,
        "height": 480,
        "steps": 30,
        "cfg_scale": 6.5,
        "sampler": "heun",
        "scheduler": "karras",
        "seed": 7,
        "model": "m.safetensors",
        "batch_size": 2,
        "priority": "high",
        "start_deadline_seconds": 60,
        "execution_timeout_seconds": 90,
        "reuse": False,
        "output": {"format": "webp", "quality": 80},
        "previews": True,
        "metadata": {"a": "b=c", "d": ""},
    }
    assert requests.TextToImageRequest.model_validate(sent(service)).metadata == {
        "a": "b=c",
        "d": "",
    }
    assert service.requests[0].headers["idempotency-key"] == "k1"


def test_quality_goes_with_a_format() -> None:
    service = Service(accepted())
    assert run(service, "submit", "a fox", "--quality", "80").exit_code == 2
    assert run(service, "submit", "a fox", "--format", "gif").exit_code == 2
    assert service.requests == []
    assert run(service, "submit", "a fox", "--format", "jpeg").exit_code == 0
    assert sent(service)["output"] == {"format": "jpeg"}


@pytest.mark.parametrize("source", ["file", "stdin"])
def test_submit_takes_a_workflow(tmp_path: Path, source: str) -> None:
    graph = {"1": {"class_type": "Näh", "inputs": {}}}
    file = tmp_path / "graph.json"
    file.write_text(json.dumps(graph), encoding="utf-8-sig" if source == "file" else "utf-8")
    service = Service(accepted())
    if source == "file":
        result = run(service, "submit", "--workflow", str(file))
    else:
        result = run(service, "submit", "--workflow", "-", stdin=json.dumps(graph))
    assert result.exit_code == 0
    assert sent(service) == {"workflow": graph}


def test_usage_is_judged_before_anything_is_sent(tmp_path: Path) -> None:
    graph, listed, no_json = (tmp_path / name for name in ("graph", "list", "no"))
    graph.write_text("{}")
    listed.write_text("[]")
    no_json.write_text('{"a": NaN}')
    service = Service(accepted())
    for args in (
        [],
        ["a fox", "--workflow", str(graph)],
        ["--workflow", str(graph), "--steps", "3"],
        ["--workflow", str(listed)],
        ["--workflow", str(no_json)],
        ["--workflow", str(tmp_path / "missing")],
        ["a fox", "--meta", "novalue"],
        ["a fox", "--priority", "urgent"],
        ["a fox", "--steps", "many"],
    ):
        result = run(service, "submit", *args)
        assert result.exit_code == 2, (args, result.output)
        assert result.stdout == ""
    assert service.requests == []


def test_missing_settings_are_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COMFYLINE_URL", raising=False)
    result = CliRunner().invoke(cli.app, ["list"])
    assert result.exit_code == 2
    assert "COMFYLINE_URL is not set" in result.stderr


def test_submit_uploads_what_the_workflow_takes(tmp_path: Path) -> None:
    file, photo = tmp_path / "graph.json", tmp_path / "photo.png"
    file.write_text("{}")
    photo.write_bytes(b"pixels")
    form = {"upload_id": "up_1", "url": "https://files.test/b", "fields": {}}
    form["expires_at"] = "2026-01-02T03:04:05Z"
    service = Service(form, httpx.Response(204), accepted())
    place = f"10.image={photo}"
    result = run(service, "submit", "--workflow", str(file), "--input", place)
    assert result.exit_code == 0, result.output
    assert json.loads(service.requests[2].content)["inputs"] == {"10.image": "upload:up_1"}


def test_an_input_that_cannot_be_meant_is_a_usage_error(tmp_path: Path) -> None:
    file = tmp_path / "graph.json"
    file.write_text("{}")
    service = Service(accepted())
    for args in (
        ["a fox", "--input", f"10.image={file}"],
        ["--workflow", str(file), "--input", "10.image"],
        ["--workflow", str(file), "--input", f"image={file}"],
        ["--workflow", str(file), "--input", f"10.image={tmp_path / 'missing'}"],
    ):
        assert run(service, "submit", *args).exit_code == 2, args
    assert service.requests == []


# --- waiting -------------------------------------------------------------------------------------


def test_watching_prints_a_line_for_each_change_and_then_the_paths(tmp_path: Path) -> None:
    def files(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=iter([b"pixels"]))

    job = succeeded(artifact())
    running = job_view("running", 2)
    service = Service(accepted(), running, job_view("running", 3), job, history(), job, files)
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
def test_the_exit_code_tells_how_the_job_ended(status: str, code: int, tmp_path: Path) -> None:
    error = {"type": "node_error", "message": "No such model.", "node_id": "4", "attempt": 2}
    job = job_view(status, 9, error=error if status == "failed" else None)
    result = run(Service(job), "watch", JOB)
    assert result.exit_code == code
    assert ("No such model.\n  node_error, node 4" in result.stderr) is (status == "failed")
    assert set(watching.EXIT_CODES) == set(get_args(common.EndStatus))


def test_ctrl_c_leaves_the_job_running_and_says_how_to_go_on() -> None:
    def press(request: httpx.Request) -> httpx.Response:
        raise KeyboardInterrupt

    service = Service(job_view(), press)
    result = run(service, "watch", JOB, "--out", "my pictures")
    assert result.exit_code == 130
    assert f"comfyline watch {JOB} --out 'my pictures'" in result.stderr
    assert f"comfyline cancel {JOB}" in result.stderr
    assert {request.method for request in service.requests} == {"GET"}


def test_files_that_cannot_be_saved_fail_the_command(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    result = run(Service(succeeded(artifact())), "watch", JOB, "--out", str(blocked / "out"))
    assert result.exit_code == 1
    assert "cannot save the files" in result.stderr


# --- looking -------------------------------------------------------------------------------------


def test_get_shows_the_job_and_its_files() -> None:
    hostile = artifact("a\x1b[2J[red].png")
    result = run(Service(succeeded(hostile)), "get", JOB)
    assert result.exit_code == 0
    assert "a red fox" in result.stdout
    assert "a?[2J[red].png  6 bytes, image/png" in result.stdout
    assert "\x1b" not in result.stdout
    assert lines(run(Service(succeeded(hostile)), "get", JOB, "--json"))[0]["job_id"] == JOB


def test_list_shows_at_most_what_was_asked_for() -> None:
    page = {"jobs": [job_view()] * 2, "next_cursor": "more"}
    service = Service(page)
    result = run(service, "list", "--limit", "3", "--status", "running")
    assert result.exit_code == 0
    assert result.stdout.count(JOB) == 3
    assert dict(service.requests[0].url.params) == {"limit": "3", "status": "running"}
    assert len(lines(run(Service(page), "list", "--limit", "3", "--json"))) == 3
    assert run(Service(page), "list", "--limit", "250").stdout.count(JOB) == 250


def test_list_without_jobs_and_with_a_status_that_is_none() -> None:
    result = run(Service({"jobs": []}), "list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert run(Service({"jobs": []}), "list", "--status", "asleep").exit_code == 2


def test_cancel_says_what_became_of_it() -> None:
    answer = {"job_id": JOB, "status": "canceled", "message": "It never ran."}
    result = run(Service(httpx.Response(202, json=answer)), "cancel", JOB)
    assert (result.exit_code, result.stdout) == (0, "canceled: It never ran.\n")


@pytest.mark.parametrize("command", ["get", "watch", "cancel"])
def test_what_is_no_job_id_is_a_usage_error(command: str) -> None:
    assert run(Service({}), command, "job_1").exit_code == 2


# --- what went wrong -----------------------------------------------------------------------------


def test_a_problem_is_shown_with_its_fields_and_request_id() -> None:
    errors = [{"loc": ["body", "width"], "msg": "too wide"}]
    answer = problem(422, "invalid_request", "Two fields are wrong.", errors=errors)
    result = run(Service(answer), "submit", "a fox")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        "Error: Invalid request: Two fields are wrong.",
        "  body.width: too wide",
        "  request id req-1",
    ]
    as_json = run(Service(answer), "submit", "a fox", "--json")
    assert as_json.stdout == ""
    assert json.loads(as_json.stderr)["problem"]["errors"] == errors


def test_the_hint_about_ui_workflows_is_said_once(tmp_path: Path) -> None:
    file = tmp_path / "ui.json"
    file.write_text('{"nodes": [], "links": []}')
    hint = 'Choose "Workflow > Export (API)" and submit that file.'
    errors = [{"loc": ["body", "workflow"], "msg": hint}]
    answer = problem(422, "invalid_request", hint, errors=errors)
    result = run(Service(answer), "submit", "--workflow", str(file))
    assert result.exit_code == 1
    assert result.stderr.count(hint) == 1
    assert "body.workflow" in result.stderr


def test_a_refused_key_is_hinted_at() -> None:
    result = run(Service(httpx.Response(403, json={"message": "Forbidden"})), "list")
    assert result.exit_code == 1
    assert "HTTP 403: Forbidden" in result.stderr
    assert "COMFYLINE_API_KEY" in result.stderr


# --- the terminal --------------------------------------------------------------------------------


def test_a_terminal_gets_one_live_bar() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100, color_system=None)
    job = responses.JobView.model_validate(job_view())
    with following(console, [JOB], as_json=False) as shown:
        for message in cli_messages(job):
            shown.show(message)
    assert "running" in screen.getvalue()
    assert "42%" in screen.getvalue()
    assert "KSampler step 8/20" in screen.getvalue()


def cli_messages(job: responses.JobView) -> list[JobMessage]:
    at = {"job_id": job.job_id, "version": 1, "progress": 0.42}
    return [
        StatusMessage.model_validate({**at, "status": "running", "attempt": 1}),
        ProgressMessage.model_validate({**at, **job.progress_detail.model_dump()}),
    ]


def test_the_table_keeps_ids_whole_in_a_narrow_terminal() -> None:
    screen = io.StringIO()
    job = responses.JobView.model_validate(job_view(params={"prompt": "[red]a\nfox " * 20}))
    now = datetime(2026, 1, 2, 3, 6, 5, tzinfo=UTC)
    view.job_table(Console(file=screen, width=80), [job], now)
    row = screen.getvalue().splitlines()[-1]
    assert row.startswith(JOB)
    assert "2 min" in row
    assert "[red]a f" in row
    assert len(row) <= 80


@pytest.mark.parametrize(
    "command", ["submit", "get", "list", "watch", "cancel", "retry", "models", "usage"]
)
def test_each_help_teaches_by_an_example(command: str) -> None:
    result = CliRunner().invoke(cli.app, [command, "--help"])
    assert result.exit_code == 0
    assert f"Example: comfyline {command}" in result.stdout


def test_models_and_usage_are_shown_by_name() -> None:
    lists = {"samplers": ["euler", "heun"], "schedulers": [], "node_classes": []}
    models = {"default_checkpoint": "m.ckpt", "checkpoints": ["m.ckpt"], **lists}
    shown = run(Service(httpx.Response(200, json=models)), "models").stdout.split("\n")
    assert [" ".join(line.split()) for line in shown] == [
        "default checkpoint m.ckpt",
        "checkpoints m.ckpt",
        "samplers euler, heun",
        "schedulers any",
        "node classes any",
        "",
    ]
    used = {"owner": "ann", "gpu_seconds": 12.5, "jobs": 3}
    service = Service(httpx.Response(200, json=used))
    assert lines(run(service, "usage", "--json")) == [used]
    assert service.requests[0].url.path == "/api/v1/usage"


def test_cancel_may_purge() -> None:
    answer = {"job_id": JOB, "status": "succeeded", "message": "removed"}
    service = Service(httpx.Response(200, json=answer))
    assert run(service, "cancel", JOB, "--purge").stdout == "succeeded: removed\n"
    (request,) = service.requests
    assert (request.method, request.url.query) == ("DELETE", b"purge=true")


# --- commands from elsewhere ---------------------------------------------------------------------


def add_commands(monkeypatch: pytest.MonkeyPatch, **targets: str) -> None:
    points = metadata.EntryPoints(
        metadata.EntryPoint(name, target, "comfyline.commands") for name, target in targets.items()
    )
    monkeypatch.setattr("comfyline.client.extensions.entry_points", points.select)


extra = typer.Typer()


@extra.command()
def hello(name: str) -> None:
    """Say hello."""
    typer.echo(f"hello {name}")


def test_entry_points_add_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    add_commands(
        monkeypatch,
        greet="tests.unit.client.test_cli:extra",
        get="tests.unit.client.test_cli:extra",
    )
    assert CliRunner().invoke(cli.app, ["greet", "ann"]).stdout == "hello ann\n"
    assert "greet" in CliRunner().invoke(cli.app, ["--help"]).stdout
    assert "Show one job" in CliRunner().invoke(cli.app, ["get", "--help"]).stdout


def test_a_command_whose_dependencies_are_missing_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    add_commands(monkeypatch, keys="no_such_module:app")
    assert CliRunner().invoke(cli.app, ["--help"]).exit_code == 0
    result = CliRunner().invoke(cli.app, ["keys", "list", "--all"])
    assert result.exit_code == 1
    assert "No module named 'no_such_module'" in result.stderr


# --- again, and many -----------------------------------------------------------------------------

OTHER = "job_" + "0" * 26


def test_retry_prints_the_new_job_and_may_watch_it() -> None:
    result = run(Service(accepted()), "retry", JOB)
    assert (result.exit_code, result.stdout) == (0, f"{JOB}\n")
    assert "comfyline watch" in result.stderr
    service = Service(accepted(), succeeded())
    result = run(service, "retry", JOB, "--watch", "--json")
    assert result.exit_code == 0
    assert [line["type"] for line in lines(result)] == ["accepted", "status", "done"]


def many(**ends: str) -> Service:
    """Several jobs that have ended, by their ids."""

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


def test_watching_several_says_which_line_is_of_which() -> None:
    result = run(many(**{OTHER: "expired"}), "watch", JOB, OTHER)
    assert result.stdout.splitlines() == [f"{JOB}  succeeded 100%", f"{OTHER}  expired    42%"]
    assert result.exit_code == 4
    assert f"Job {OTHER} expired" in result.stderr


def test_watch_all_follows_what_has_not_ended() -> None:
    result = run(many(), "watch", "--all", "--json")
    assert {line["job_id"] for line in lines(result)} == {JOB, OTHER}
    assert result.exit_code == 0


def test_watch_all_without_jobs_and_watch_of_nothing() -> None:
    result = run(Service({"jobs": [], "next_cursor": None}), "watch", "--all")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "No jobs" in result.stderr
    for args in ([], [JOB, "--all"], [JOB, "nonsense"]):
        assert run(Service(job_view()), "watch", *args).exit_code == 2


def test_files_of_several_jobs_do_not_mix(tmp_path: Path) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == "files.test":
            return httpx.Response(200, content=iter([b"pixels"]))
        job_id = request.url.path.rpartition("/")[2]
        return httpx.Response(200, json={**succeeded(artifact()), "job_id": job_id})

    result = run(Service(answer), "watch", JOB, OTHER, "--out", str(tmp_path))
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([JOB, OTHER])
    assert (tmp_path / JOB / "fox.png").read_bytes() == b"pixels"


def test_a_terminal_gets_a_bar_for_each_job() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=110)
    with following(console, [JOB, OTHER], as_json=False) as shown:
        waits = {"status": "queued", "progress": 0, "attempt": 0, "queue_position": 3}
        shown.show(StatusMessage(job_id=JOB, version=1, **waits))  # type: ignore[arg-type]
        shown.show(ProgressMessage(job_id=OTHER, version=4, progress=0.5, message="step 1/2"))
    text = out.getvalue()
    assert "number 3 in the queue" in text
    assert "50%" in text
    assert JOB in text
    assert OTHER in text


def test_a_node_without_steps_is_named_once() -> None:
    at = {"job_id": JOB, "version": 1, "progress": 0.9, "node": "8", "node_type": "VAEDecode"}
    named = ProgressMessage.model_validate({**at, "message": "VAEDecode"})
    assert view.doing(named) == "VAEDecode"
