"""How a job looks in a notebook: its pictures or a bar, as HTML.

Texts of the service and of other people are escaped. Addresses of pictures are used only if they
are web addresses.
"""

from __future__ import annotations

import html
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from itertools import islice

from rich.console import Console

from comfyline.client.pictures import SHOWN_IN_NOTEBOOKS, Picture
from comfyline.client.progress import JobLine, display
from comfyline.client.screen import what_runs
from comfyline.contract.texts import clean
from comfyline.contract.v1.responses import JobView
from comfyline.contract.v1.socket import JobMessage

MAX_LINKED = 4  # pictures that are shown by their URLs, which work for some minutes


@contextmanager
def shown(job_id: str) -> Iterator[Callable[[JobMessage], None]]:
    """A function that shows a job's messages: as one bar in a notebook, else on stderr."""
    if _is_notebook():
        yield _LiveBar().show
    else:
        with display(Console(stderr=True), [job_id]) as show:
            yield show


def _is_notebook() -> bool:
    ipython = sys.modules.get("IPython")  # it is imported wherever it runs
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and hasattr(shell, "kernel")


class _LiveBar:
    """A bar in the output of a cell, which replaces itself."""

    def __init__(self) -> None:
        self._line = JobLine(detail="connecting …")
        # IPython is no dependency: it is there, because a notebook runs.
        self._handle = import_module("IPython.display").display(self, display_id=True)

    def show(self, message: JobMessage) -> None:
        if self._line.take(message):
            self._handle.update(self)

    def _repr_mimebundle_(self, **_options: object) -> dict[str, str]:
        line = self._line
        text = f"{line.status} {line.progress:.0%} {line.detail}".rstrip()
        return {"text/plain": text, "text/html": bar(line.status, line.progress, line.detail)}


def as_html(job_id: str, view: JobView | None, pictures: Sequence[Picture]) -> str:
    """The job: its pictures if they have been fetched or the job has any, else its state.

    Fetched pictures are part of the text, so that a saved notebook keeps them.
    """
    shown = [_embedded(each) for each in pictures if each.content_type in SHOWN_IN_NOTEBOOKS]
    if not shown and view is not None:
        shown = list(_linked(view))
    parts = ("".join(shown), _state(view), _line("code", job_id))
    return "<div>" + "".join(part for part in parts if part) + "</div>"


def bar(status: str, progress: float, detail: str) -> str:
    """A bar with the state beside it."""
    text = _escaped(f"{status} {progress:.0%}  {detail}".rstrip())
    return f'<div><progress value="{progress:.3f}"></progress> {text}</div>'


def _state(view: JobView | None) -> str:
    if view is None or view.status == "succeeded":
        return ""
    why = view.error.message if view.error else what_runs(view.progress_detail)
    return bar(view.status, view.progress, why)


def _embedded(picture: Picture) -> str:
    return _image(f"data:{picture.content_type};base64,{picture.base64()}", picture.name)


def _linked(view: JobView) -> Iterator[str]:
    artifacts = view.result.artifacts if view.result else []
    images = (each for each in artifacts if each.content_type.startswith("image/"))
    for artifact in islice(images, MAX_LINKED):
        if artifact.url.startswith(("https://", "http://")):
            yield _image(artifact.url, artifact.name)


def _image(source: str, name: str) -> str:
    style = "max-width: 100%; max-height: 32em"
    return f'<img src="{html.escape(source)}" alt="{_escaped(name)}" style="{style}">'


def _line(tag: str, text: str) -> str:
    return f"<div><{tag}>{_escaped(text)}</{tag}></div>"


def _escaped(text: str) -> str:
    return html.escape(clean(text))
