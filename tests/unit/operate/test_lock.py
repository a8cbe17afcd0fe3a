"""`comfyline lock`: the problems it finds, its output and its exit codes."""

from __future__ import annotations

import hashlib
import json
from importlib import metadata
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from comfyline.client import cli
from comfyline.operate.lock import DEFAULT_LOCK, app

ROOT = Path(__file__).parents[3]
BODY = b"weights"
LOCK = f"""
default_checkpoint = "a.safetensors"
warm_up = "warm.json"
[comfyui]
repository = "https://example.com/engine"
commit = "{"1" * 40}"
[[models]]
path = "checkpoints/a.safetensors"
sha256 = "{hashlib.sha256(BODY).hexdigest()}"
bytes = {len(BODY)}
"""


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    (tmp_path / "warm.json").write_text('{"1": {"class_type": "A", "inputs": {}}}')
    path = tmp_path / "team.toml"
    path.write_text(LOCK)
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "models" / "checkpoints" / "a.safetensors"
    path.parent.mkdir(parents=True)
    path.write_bytes(BODY)
    return path


def test_a_valid_lock(lock: Path) -> None:
    result = run("check", lock)
    assert (result.exit_code, result.stdout) == (0, f"{lock} is valid: 1 models, 0.0 GB\n")


def test_the_default_lock_is_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    result = run("check")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith(f"{DEFAULT_LOCK} is valid")


def test_every_problem_is_a_line_on_stderr(lock: Path) -> None:
    lock.write_text(LOCK.replace("1" * 40, "main").replace("bytes = 7", "bytes = -7"))
    result = run("check", lock)
    assert (result.exit_code, result.stdout) == (1, "")
    assert [line.partition(":")[0] for line in result.stderr.splitlines()] == [
        "comfyui.commit",
        "models.0.bytes",
    ]


@pytest.mark.parametrize("content", [None, "{", "[]", "{}"])
def test_the_warm_up_must_be_a_graph_next_to_the_lock(lock: Path, content: str | None) -> None:
    warm_up = lock.with_name("warm.json")
    warm_up.unlink()
    if content is not None:
        warm_up.write_text(content)
    result = run("check", lock)
    assert (result.exit_code, result.stderr[:18]) == (1, "warm_up: warm.json")


def test_a_folder_with_the_models_of_the_lock(lock: Path, model: Path) -> None:
    assert run("check", lock, "--root", model.parents[1]).exit_code == 0


@pytest.mark.parametrize(
    ("body", "message"),
    [(None, "is missing"), (b"weight", "has 6 bytes, not 7"), (b"Weights", "has the SHA-256 ")],
)
def test_a_folder_that_differs_from_the_lock(
    lock: Path, model: Path, body: bytes | None, message: str
) -> None:
    model.unlink()
    if body is not None:
        model.write_bytes(body)
    result = run("check", lock, "--root", model.parents[1])
    assert result.exit_code == 1
    assert result.stderr.startswith(f"checkpoints/a.safetensors: {message}")


def test_a_missing_path_is_a_usage_error(tmp_path: Path, lock: Path) -> None:
    assert run("check", tmp_path / "missing").exit_code == 2
    assert run("check", lock, "--root", tmp_path / "missing").exit_code == 2


def test_a_file_that_is_not_text(lock: Path) -> None:
    lock.write_bytes(b"\xff\xfe")
    result = run("check", lock)
    assert (result.exit_code, result.stderr) == (1, f"{lock} is not a text file in UTF-8\n")


def test_show_prints_the_keys_of_models(lock: Path) -> None:
    assert "models/checkpoints/a.safetensors" in run("show", lock).stdout
    shown = json.loads(run("show", lock, "--json").stdout)
    assert shown["models"][0]["bytes"] == len(BODY)


def test_it_is_a_command_of_the_client(lock: Path) -> None:
    (entry,) = metadata.entry_points(group="comfyline.commands", name="lock")
    assert entry.load() is app
    result = CliRunner().invoke(cli.app, ["lock", "check", str(lock)])
    assert result.exit_code == 0
