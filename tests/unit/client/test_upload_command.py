"""`comfyline upload`: what is announced and sent for each file, its output and its errors."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import httpx
import pytest
from blake3 import blake3

from comfyline.contract.limits import MAX_UPLOAD_BYTES
from tests.unit.client.commands import lines, run
from tests.unit.client.fakes import Service, problem


def form(number: int) -> httpx.Response:
    body = {"upload_id": f"upl_{number}", "url": "https://files.test/b", "fields": {"key": "k"}}
    body |= {"expires_at": "2026-01-02T03:04:05Z"}
    return httpx.Response(201, json=body)


STORED = httpx.Response(204)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    found = [tmp_path / "a.png", tmp_path / "b.mp4"]
    for path in found:
        path.write_bytes(path.name.encode())
    return found


def test_each_file_is_announced_by_its_hash_and_sent(files: list[Path]) -> None:
    service = Service(form(1), STORED, form(2), STORED)
    result = run(service, "upload", *map(str, files))
    assert (result.exit_code, result.stdout.splitlines()) == (
        0,
        [f"upload:upl_1 {files[0]}", f"upload:upl_2 {files[1]}"],
    )
    asked, sent = service.requests[::2], service.requests[1::2]
    for path, announced, request in zip(files, asked, sent, strict=True):
        wanted = json.loads(announced.content)
        assert (wanted["name"], wanted["bytes"]) == (path.name, 5)
        assert wanted["blake3"] == blake3(path.read_bytes()).hexdigest()
        assert path.read_bytes() in request.content
        assert "authorization" not in request.headers
    assert [json.loads(each.content)["content_type"] for each in asked] == [
        "image/png",
        "video/mp4",
    ]


def test_json_names_each_file(files: list[Path]) -> None:
    result = run(Service(form(1), STORED, form(2), STORED), "upload", "--json", *map(str, files))
    assert lines(result) == [
        {"file": str(path), "reference": f"upload:upl_{number}"}
        for number, path in enumerate(files, 1)
    ]


def test_a_refusal_ends_the_command_and_names_the_file(files: list[Path]) -> None:
    service = Service(form(1), STORED, form(2), httpx.Response(403))
    result = run(service, "upload", *map(str, files))
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [f"upload:upl_1 {files[0]}"]
    assert "b.mp4: HTTP 403" in result.stderr


def test_the_services_refusal_is_shown(files: list[Path]) -> None:
    refusal = problem(429, "rate_limited", "Too many uploads.")
    result = run(Service(refusal), "upload", str(files[0]))
    assert (result.exit_code, result.stdout) == (1, "")
    assert "Too many uploads." in result.stderr


@pytest.mark.parametrize("size", [0, MAX_UPLOAD_BYTES + 1])
def test_a_file_of_another_size_is_refused_before_any_call(tmp_path: Path, size: int) -> None:
    path = tmp_path / "video.mp4"
    with path.open("wb") as file:
        file.truncate(size)
    service = Service(form(1))
    result = run(service, "upload", str(path))
    assert (result.exit_code, service.requests) == (1, [])
    assert f"video.mp4 has {size} bytes" in " ".join(result.stderr.split())


def test_without_blake3_the_error_says_what_to_install(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "blake3", None)
    service = Service(form(1))
    result = run(service, "upload", str(files[0]))
    assert (result.exit_code, service.requests) == (2, [])
    assert "pip install 'comfyline[upload]'" in " ".join(result.stderr.split())


def test_a_file_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    assert run(Service(form(1)), "upload", str(tmp_path / "no.png")).exit_code == 2
