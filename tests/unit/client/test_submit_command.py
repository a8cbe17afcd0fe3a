"""`comfyline submit`: the request it sends, its output and its errors."""

from __future__ import annotations

import json
import math
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from comfyline.client import cli
from comfyline.contract.v1 import requests
from tests.unit.client.commands import run, sent
from tests.unit.client.fakes import JOB, Service, accepted, problem


def test_submit_prints_only_the_id_on_stdout() -> None:
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


def test_a_strict_workflow_is_sent_as_such(tmp_path: Path) -> None:
    file = tmp_path / "graph.json"
    file.write_text(json.dumps({"1": {"class_type": "X", "inputs": {}}}))
    service = Service(accepted())
    assert run(service, "submit", "--workflow", str(file), "--strict").exit_code == 0
    assert sent(service)["strict"] is True


def test_quality_needs_a_format() -> None:
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


def test_a_workflow_is_sent_as_comfyui_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "graph.json"
    file.write_text('{"1": {"class_type": "X", "inputs": {}, "is_changed": [NaN, "cut \\ud83d"]}}')
    service = Service(accepted())
    assert run(service, "submit", "--workflow", str(file)).exit_code == 0
    assert repr(sent(service)["workflow"]["1"]["is_changed"]) == repr([math.nan, "cut \ud83d"])


def test_wrong_usage_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    graph, listed, no_json = (tmp_path / name for name in ("graph", "list", "no"))
    graph.write_text("{}")
    listed.write_text("[]")
    no_json.write_text('{"a": nan}')
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


def test_a_wrong_input_option_is_a_usage_error(tmp_path: Path) -> None:
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


def test_the_hint_about_ui_workflows_is_printed_once(tmp_path: Path) -> None:
    file = tmp_path / "ui.json"
    file.write_text('{"nodes": [], "links": []}')
    hint = 'Choose "Workflow > Export (API)" and submit that file.'
    errors = [{"loc": ["body", "workflow"], "msg": hint}]
    answer = problem(422, "invalid_request", hint, errors=errors)
    result = run(Service(answer), "submit", "--workflow", str(file))
    assert result.exit_code == 1
    assert result.stderr.count(hint) == 1
    assert "body.workflow" in result.stderr
