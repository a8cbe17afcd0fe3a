"""No text of the service, of a workflow or of another user steers the terminal or stops a command.

Each test puts one hostile text into every text of an answer at once.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from comfyline.client import screen
from comfyline.client.cli import errors, tables, view
from comfyline.client.errors import ApiError, ComfylineClientError, api_error
from comfyline.client.progress import display
from comfyline.contract.texts import UNSAFE, clean
from comfyline.contract.v1 import responses, results
from comfyline.contract.v1.socket import server_message
from comfyline.service.texts import valid_text
from tests.support.hostile import hostile_texts
from tests.unit.client.commands import run
from tests.unit.client.fakes import JOB, Service, artifact, job_view

# pydantic refuses halves of surrogate pairs, so no answer of a service holds one.
TEXTS = hostile_texts(300).map(valid_text)
NOW = datetime(2026, 1, 2, 3, 6, 5, tzinfo=UTC)
# The models check the form of these texts.
CHECKED = {"status", "priority", "queued_at", "type", "url_expires_at"}

WARNING = {"type": "", "message": "", "node_id": "", "node_type": ""}
ERROR = {"type": "", "message": "", "node_id": "", "node_type": "", "attempt": 1}
RESULT = {
    "artifacts": [artifact()],
    "artifacts_total": 2,
    "values": {"": {"": ["", {"": ""}]}},
    "values_cut": [""],
    "warnings": [WARNING],
    "partial": True,
    "empty_reason": "",
}
VIEWS = [
    job_view("running", metadata={"": ""}, progress_detail={"node": "", "message": ""}),
    job_view("failed", metadata={"": ""}, result=RESULT, error=ERROR, retry_of=""),
]


def filled(value: Any, text: str, name: str = "") -> Any:
    """The value with `text` in place of every text in it, and of names that are empty."""
    if isinstance(value, dict):
        return {key or text: filled(part, text, key) for key, part in value.items()}
    if isinstance(value, list):
        return [filled(part, text, name) for part in value]
    return text if isinstance(value, str) and name not in CHECKED else value


class Screen:
    """What a terminal or a pipe has got, in UTF-8."""

    def __init__(self, *, is_terminal: bool) -> None:
        self._bytes = io.BytesIO()
        self.console = Console(
            file=io.TextIOWrapper(self._bytes, "utf-8", newline="\n", write_through=True),
            width=100,
            force_terminal=is_terminal,
            color_system=None,
        )

    @property
    def text(self) -> str:
        return self._bytes.getvalue().decode()


def shown(show: Callable[[Console], object]) -> str:
    """What `show` prints into a pipe. It has checked that the output is harmless."""
    got = Screen(is_terminal=False)
    show(got.console)
    assert re.search(f"[{UNSAFE}]", got.text.replace("\n", "")) is None
    return got.text


@pytest.mark.parametrize("answer", VIEWS, ids=["running", "failed"])
@given(text=TEXTS)
def test_details_and_list_of_jobs(answer: dict[str, Any], text: str) -> None:
    job = responses.JobView.model_validate(filled(answer, text))
    shown(lambda console: view.job_details(console, job))
    piped = Screen(is_terminal=False)
    tables.job_table(piped.console, [job, job], NOW)
    rows = piped.text.split("\n")
    assert len(rows) == 3
    assert {row.count("\t") for row in rows[:2]} == {4}
    assert re.search(f"[{UNSAFE}]", "".join(rows).replace("\t", "")) is None
    terminal = Screen(is_terminal=True)
    tables.job_table(terminal.console, [job, job], NOW)
    assert re.search(f"[{UNSAFE}]", terminal.text.replace("\n", "")) is None


@given(TEXTS)
def test_a_hostile_text_is_shown_as_it_is_but_for_unsafe_characters(text: str) -> None:
    line = shown(lambda console: screen.say(console, text))
    assert line == clean(text) + "\n"


@given(TEXTS)
def test_files_answers_and_fields(text: str) -> None:
    file = results.ArtifactView.model_validate(filled(artifact(), text))
    assert len(shown(lambda console: view.file_line(console, file)).splitlines()) == 1
    models = responses.Models.model_validate(
        filled(
            {
                "default_checkpoint": "",
                "checkpoints": [""],
                "samplers": [""],
                "schedulers": [],
                "node_classes": [],
            },
            text,
        )
    )
    shown(lambda console: view.fields(console, models))
    answer = responses.CancelAnswer(job_id=text, status="canceled", message=text)
    assert len(shown(lambda console: view.canceled(console, answer)).splitlines()) == 1


MESSAGES = [
    {"type": "status", "status": "running", "progress": 0.5, "attempt": 1, "reason": ""},
    {"type": "progress", "progress": 0.5, "message": "", "node": "", "node_type": ""},
    {"type": "artifact", "number": 0, "url": "", "name": "", "kind": "", "node": "", "attempt": 1},
    {"type": "done", "status": "failed", "result": RESULT, "error": ERROR},
]


@given(TEXTS)
def test_live_lines_bars_and_the_end(text: str) -> None:
    messages = [
        server_message.validate_python({"job_id": JOB, "version": n, **filled(message, text)})
        for n, message in enumerate(MESSAGES)
    ]

    def show_all(console: Console) -> None:
        with display(console, [JOB], as_json=False) as show:
            for message in messages:
                show(message)

    assert len(shown(show_all).splitlines()) <= len(messages)
    shown(lambda console: view.ending(console, JOB, messages[-1]))
    terminal = Screen(is_terminal=True)
    show_all(terminal.console)
    own = re.sub(r"\x1b\[(\?25[lh]|2K|1A|\d*[AG])|\r", "", terminal.text)  # rich moves the cursor
    assert re.search(f"[{UNSAFE}]", own.replace("\n", "")) is None


@given(hostile_texts(300), st.integers(400, 599))
def test_errors_of_a_service_a_gateway_and_a_proxy(text: str, status: int) -> None:
    field = {"loc": [text, 1], "msg": text}
    problem = {
        "type": text,
        "title": text,
        "status": status,
        "detail": text,
        "code": text,
        "request_id": text,
        "errors": [field],
    }
    for answer in (
        httpx.Response(status, content=json.dumps(problem)),
        httpx.Response(status, content=json.dumps({"message": text})),
        httpx.Response(status, content=b"[" * 99_999),
        httpx.Response(status, content=text.encode(errors="surrogatepass")),
    ):
        error = api_error(answer)
        assert isinstance(error, ApiError)
        shown(lambda console, error=error: errors.error(console, error))
        shown(lambda console, error=error: errors.json_error(console, error))
    shown(lambda console: errors.error(console, ComfylineClientError(text)))


@pytest.mark.parametrize("name", ["\x1b]0;PWNED\x07\x1b[2J", "[/bold]x", "[link=https://x]click"])
def test_the_name_of_a_label_is_shown_as_text(name: str) -> None:
    result = run(Service(job_view(metadata={name: "v"})), "get", JOB)
    assert result.exit_code == 0
    assert f"meta {clean(name)}" in result.stdout


@pytest.mark.parametrize("name", ["[/bold]x", "[link=https://x]click"])
def test_arguments_of_a_wrong_form_are_shown_as_text(name: str) -> None:
    assert run(Service({}), "get", name).exit_code == 2
    assert run(Service({}), "submit", "--workflow", f"/nowhere/{name}").exit_code == 2


def test_a_text_of_megabytes_is_cut() -> None:
    error = api_error(httpx.Response(500, json={"message": "x" * 5_000_000}))
    assert len(shown(lambda console: errors.error(console, error))) < 2 * screen.MAX_SHOWN
