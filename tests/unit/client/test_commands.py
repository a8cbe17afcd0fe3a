"""The commands that show and change jobs, and commands from other distributions."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from importlib import metadata

import httpx
import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from comfyline.client import cli
from comfyline.client.cli import tables
from comfyline.contract.v1 import responses
from tests.unit.client.commands import lines, run
from tests.unit.client.fakes import JOB, Service, artifact, job_view, succeeded

OTHER_JOB = JOB[:-1] + "9"


def test_get_shows_the_job_and_its_files() -> None:
    hostile = artifact("a\x1b[2J[red].png")
    result = run(Service(succeeded(hostile)), "get", JOB)
    assert result.exit_code == 0
    assert "a red fox" in result.stdout
    assert "a?[2J[red].png  6 bytes, image/png" in result.stdout
    assert "\x1b" not in result.stdout
    assert lines(run(Service(succeeded(hostile)), "get", JOB, "--json"))[0]["job_id"] == JOB


def with_result(**fields: object) -> dict[str, object]:
    return job_view("succeeded", 9, progress=1.0, result={"artifacts": [], **fields})


RICH = with_result(
    artifacts=[artifact(temporary=True)],
    artifacts_total=250,
    next_cursor="1",
    values={"12:3": {"tags": ["a\x1b[2Jfox"], "text": "x" * 999}},
    values_cut=["7.bg_image"],
    warnings=[{"type": "file_missing", "message": "b.png is missing", "node_id": "7"}],
    partial=True,
)


def test_get_shows_values_and_what_is_missing() -> None:
    shown = " ".join(run(Service(RICH), "get", JOB).stdout.split())
    assert "fox.png 6 bytes, image/png, temporary" in shown
    assert f"249 more: comfyline files {JOB}" in shown
    assert "value 12:3.tags" in shown
    assert "x" * 999 not in shown.replace(" ", "")
    assert "Some outputs of the workflow are missing." in shown
    assert "b.png is missing (node 7, unknown class)" in shown
    assert "no room: 7.bg_image" in shown
    assert "\x1b" not in shown


def test_files_lists_the_files_of_all_pages() -> None:
    def page(number: int, following: str | None) -> dict[str, object]:
        files = [artifact(f"{number}.png", number=number)]
        return {"job_id": JOB, "artifacts": files, "artifacts_total": 2, "next_cursor": following}

    pages = page(0, "1"), page(1, None)
    result = run(Service(*pages), "files", JOB)
    assert result.stdout.splitlines() == [
        "0  0.png  6 bytes, image/png",
        "1  1.png  6 bytes, image/png",
    ]
    listed = lines(run(Service(*pages), "files", JOB, "--json"))
    assert [(file["number"], file["name"]) for file in listed] == [(0, "0.png"), (1, "1.png")]
    assert all(file["url"].startswith("https://") for file in listed)


def test_list_shows_at_most_as_many_jobs_as_requested() -> None:
    page = {"jobs": [job_view()] * 2, "next_cursor": "more"}
    service = Service(page)
    result = run(service, "list", "--limit", "3", "--status", "running")
    assert result.exit_code == 0
    assert result.stdout.count(JOB) == 3
    assert dict(service.requests[0].url.params) == {"limit": "3", "status": "running"}
    assert len(lines(run(Service(page), "list", "--limit", "3", "--json"))) == 3
    assert run(Service(page), "list", "--limit", "250").stdout.count(JOB) == 250


def test_list_without_jobs_and_with_an_unknown_status() -> None:
    result = run(Service({"jobs": []}), "list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert run(Service({"jobs": []}), "list", "--status", "asleep").exit_code == 2


def test_cancel_prints_what_happened() -> None:
    answer = {"job_id": JOB, "status": "canceled", "message": "It never ran."}
    result = run(Service(httpx.Response(202, json=answer)), "cancel", JOB)
    assert (result.exit_code, result.stdout) == (0, "canceled: It never ran.\n")


def test_several_jobs_are_canceled_in_one_command() -> None:
    answer = {"job_id": JOB, "status": "canceled", "message": "It never ran."}
    service = Service(httpx.Response(202, json=answer))
    result = run(service, "cancel", JOB, OTHER_JOB, JOB)
    assert result.stdout == f"{JOB}  canceled: It never ran.\n" * 2
    assert [request.url.path.split("/")[-1] for request in service.requests] == [JOB, OTHER_JOB]


def test_get_shows_the_seed_and_the_other_parameters() -> None:
    params = {"prompt": "a fox", "negative_prompt": "", "seed": 77, "steps": 20, "model": None}
    shown = run(Service(job_view(params=params)), "get", JOB).stdout
    assert {"seed 77", "steps 20"} <= {" ".join(line.split()) for line in shown.splitlines()}
    assert "model" not in shown


def test_a_service_that_does_not_answer_is_told_with_the_likely_reason() -> None:
    result = run(Service(httpx.ConnectError("refused")), "list")
    assert result.exit_code == 1
    assert "COMFYLINE_URL" in result.stderr


def test_the_version_and_the_short_help() -> None:
    assert (
        CliRunner().invoke(cli.app, ["--version"]).stdout
        == f"comfyline {metadata.version('comfyline')}\n"
    )
    assert "Usage" in CliRunner().invoke(cli.app, ["list", "-h"]).stdout


@pytest.mark.parametrize("command", ["get", "files", "watch", "cancel"])
def test_a_wrong_job_id_is_a_usage_error(command: str) -> None:
    assert run(Service({}), command, "job_1").exit_code == 2


def test_a_refused_key_prints_a_hint() -> None:
    result = run(Service(httpx.Response(401, json={"message": "Unauthorized"})), "list")
    assert result.exit_code == 1
    assert "HTTP 401: Unauthorized" in result.stderr
    assert "COMFYLINE_API_KEY" in result.stderr


NOW = datetime(2026, 1, 2, 3, 6, 5, tzinfo=UTC)


def table(width: int, *jobs: dict[str, object], is_terminal: bool = True) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=is_terminal, color_system=None)
    tables.job_table(console, [responses.JobView.model_validate(job) for job in jobs], NOW)
    return out.getvalue().splitlines()


LONG = job_view(params={"prompt": "[red]a\nfox " * 20})
BROKEN = job_view("failed", error={"type": "node_error", "message": "no\tsuch model"})


def test_a_wide_table_keeps_ids_whole() -> None:
    row = table(80, LONG)[-1]
    assert row.startswith(JOB)
    assert "2 min" in row
    assert "[red]a f" in row
    assert len(row) <= 80


def test_a_narrow_table_has_short_ids_that_tell_the_jobs_apart() -> None:
    alike = {**LONG, "job_id": JOB[:15] + "x" * 15}
    rows = table(60, LONG, alike)
    assert [row.split()[0] for row in rows[-2:]] == [JOB[:16], alike["job_id"][:16]]
    assert max(map(len, rows)) <= 60
    assert "[red]a fox" in rows[-1]


def test_a_table_in_a_pipe_has_tabs_and_cuts_nothing() -> None:
    cells = [row.split("\t") for row in table(60, LONG, BROKEN, is_terminal=False)]
    assert cells[0][:3] == [JOB, "running", "2026-01-02T03:04:05Z"]
    assert cells[0][3:] == [("[red]a fox " * 20).strip(), ""]
    assert cells[1][-2:] == ["a red fox", "no such model"]


def test_the_table_shows_errors_first() -> None:
    assert "no such model  a red fox" in table(110, BROKEN)[-1]


@pytest.mark.parametrize(
    "command", ["submit", "get", "list", "watch", "cancel", "retry", "models", "usage"]
)
def test_each_help_has_an_example(command: str) -> None:
    result = CliRunner().invoke(cli.app, [command, "--help"])
    assert result.exit_code == 0
    assert f"Example: comfyline {command}" in result.stdout


def test_models_and_usage_print_each_field_with_its_name() -> None:
    lists = {"samplers": ["euler", "heun"], "schedulers": [], "node_classes": []}
    models = {"default_checkpoint": "m.ckpt", "checkpoints": ["m.ckpt"], **lists}
    shown = run(Service(httpx.Response(200, json=models)), "models").stdout.split("\n")
    assert [" ".join(line.split()) for line in shown] == [
        "default checkpoint m.ckpt",
        "checkpoints m.ckpt",
        "any checkpoint False",
        "samplers euler, heun",
        "schedulers any",
        "node classes any",
        "",
    ]
    used = {"owner": "ann", "gpu_seconds": 12.5, "jobs": 3}
    service = Service(httpx.Response(200, json=used))
    assert lines(run(service, "usage", "--json")) == [used | {"months": None}]
    assert service.requests[0].url.path == "/api/v1/usage"


def test_usage_is_shown_by_month() -> None:
    months = [
        {"month": "2026-02", "gpu_seconds": 0, "jobs": 0},
        {"month": "2026-03", "gpu_seconds": 12.25, "jobs": 7},
    ]
    used = {"owner": "ann", "gpu_seconds": 20.5, "jobs": 9, "months": months}
    service = Service(httpx.Response(200, json=used))
    shown = run(service, "usage", "--by-month").stdout.splitlines()
    assert [" ".join(line.split()) for line in shown] == [
        "owner ann",
        "gpu seconds 20.5",
        "jobs 9",
        "2026-02 0.0 s of GPU, 0 jobs",
        "2026-03 12.2 s of GPU, 7 jobs",
    ]
    assert service.requests[0].url.query == b"by=month"


def test_cancel_can_purge() -> None:
    answer = {"job_id": JOB, "status": "succeeded", "message": "removed"}
    service = Service(httpx.Response(200, json=answer))
    assert run(service, "cancel", JOB, "--purge").stdout == "succeeded: removed\n"
    (request,) = service.requests
    assert (request.method, request.url.query) == ("DELETE", b"purge=true")


def add_commands(monkeypatch: pytest.MonkeyPatch, **targets: str) -> None:
    points = metadata.EntryPoints(
        metadata.EntryPoint(name, target, "comfyline.commands") for name, target in targets.items()
    )
    monkeypatch.setattr("comfyline.client.cli.extensions.entry_points", points.select)


extra = typer.Typer()


@extra.command()
def hello(name: str) -> None:
    """Say hello."""
    typer.echo(f"hello {name}")


def test_entry_points_add_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    add_commands(
        monkeypatch,
        greet="tests.unit.client.test_commands:extra",
        get="tests.unit.client.test_commands:extra",
    )
    assert CliRunner().invoke(cli.app, ["greet", "ann"]).stdout == "hello ann\n"
    assert "greet" in CliRunner().invoke(cli.app, ["--help"]).stdout
    assert "Show one job" in CliRunner().invoke(cli.app, ["get", "--help"]).stdout


@pytest.mark.parametrize("name", ["keys", "admin", "lock"])
def test_a_command_for_operators_names_its_missing_distribution(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    add_commands(monkeypatch)
    result = CliRunner().invoke(cli.app, [name, "list", "--all"])
    assert result.exit_code == 1
    assert "it needs `pip install comfyline-operator`" in result.stderr


def test_a_command_names_its_missing_dependency(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add_commands(monkeypatch, keys="no_such_module:app")
    assert CliRunner().invoke(cli.app, ["--help"]).exit_code == 0
    result = CliRunner().invoke(cli.app, ["keys", "list", "--all"])
    assert result.exit_code == 1
    assert "No module named 'no_such_module'" in result.stderr
