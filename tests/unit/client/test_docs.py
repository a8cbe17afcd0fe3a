"""The examples of docs/client.md and of the guides run as they are printed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from comfyline.client import AsyncComfyline, Comfyline
from tests.support.documents import ROOT, blocks
from tests.unit.client.fakes import JOB, Stream, accepted, artifact, succeeded

DOCS = ROOT / "docs" / "client.md"
GUIDES = (
    "image-to-image",
    "batch",
    "notebook",
    "lambda",
    "from-comfyui",
    "from-runpod",
    "from-replicate",
)
PAGES = [DOCS, *(ROOT / "docs" / "guides" / f"{name}.md" for name in GUIDES)]
EXAMPLES = [example for page in PAGES for example in blocks(page, "python")]


def answer(request: httpx.Request) -> httpx.Response:
    path = request.url.path
    if request.url.host == "files.test":
        return httpx.Response(200, stream=Stream(b"pixels"))
    if path.endswith("/uploads"):
        form = {"upload_id": "up_1", "url": "https://files.test/b", "fields": {}}
        return httpx.Response(201, json={**form, "expires_at": "2026-01-02T03:04:05Z"})
    if path.endswith("/artifacts"):
        page = {"job_id": JOB, "artifacts": [artifact()], "artifacts_total": 1}
        return httpx.Response(200, json=page)
    return accepted() if path.endswith("/jobs") else httpx.Response(200, json=succeeded(artifact()))


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 12


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_runs(
    example: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COMFYLINE_URL", "https://api.test")
    monkeypatch.setenv("COMFYLINE_API_KEY", "cl_abc_secret")
    monkeypatch.delenv("COMFYLINE_WS_URL", raising=False)
    (tmp_path / "graph.json").write_text("{}")
    (tmp_path / "photo.png").write_bytes(b"pixels")
    for kind in (Comfyline, AsyncComfyline):
        _use_transport(monkeypatch, kind)
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(example, "example", "exec"), names)
    if "handler" in names:
        print(names["handler"]({"order": 17, "place": "Rome"}, None))
    if "print(job" in example:
        assert (tmp_path / "pictures").exists()
    assert capsys.readouterr().out or "run_timeout" in example


def _use_transport(monkeypatch: pytest.MonkeyPatch, kind: Any) -> None:
    make = kind.__init__

    def made(self: Any, *args: Any, **options: Any) -> None:
        make(self, *args, transport=httpx.MockTransport(answer), **options)

    monkeypatch.setattr(kind, "__init__", made)


def test_the_page_has_the_numbers_of_the_code() -> None:
    from comfyline.client.cli.watching import EXIT_CODES, INTERRUPTED
    from comfyline.contract.limits import MAX_CLIENT_MESSAGE_BYTES, MAX_SUBSCRIPTIONS

    text = DOCS.read_text()
    assert f"at most {MAX_SUBSCRIPTIONS}" in text
    assert MAX_CLIENT_MESSAGE_BYTES == 1024
    for code, status in [(code, status) for status, code in EXIT_CODES.items()]:
        assert re.search(rf"\| {code} \| {status}", text)
    assert f"| {INTERRUPTED} |" in text
    assert JOB.startswith("job_")
