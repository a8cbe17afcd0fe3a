"""A message that the engine's log cannot encode does not end the thread that logs it."""

from __future__ import annotations

import importlib
import io
import logging
import sys
from collections.abc import Iterator

import pytest

from gpu_worker import comfyui_extension


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before, logging.raiseExceptions = logging.raiseExceptions, True
    yield
    logging.raiseExceptions = before


def log_as_comfyui_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """ComfyUI replaces sys.stderr by a strict stream, and logs the exception of a node to it."""
    stderr = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr(sys, "stderr", stderr)
    handler = logging.StreamHandler(stderr)
    try:
        raise ValueError("half \ud800 of a pair")
    except ValueError as error:
        text = f"!!! Exception during processing !!! {error}"
        handler.handle(logging.LogRecord("root", logging.ERROR, "x.py", 1, text, None, None))


def test_without_it_the_error_of_the_log_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnicodeEncodeError):
        log_as_comfyui_does(monkeypatch)


def test_with_it_the_line_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    importlib.reload(comfyui_extension)
    log_as_comfyui_does(monkeypatch)
    assert comfyui_extension.NODE_CLASS_MAPPINGS == {}
