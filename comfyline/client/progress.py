"""A job on its way: JSON lines, a live bar, or a line for each change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Column
from rich.text import Text

from comfyline import wire
from comfyline.client.view import STYLES, clean, doing, json_line, say


class Shows(Protocol):
    """Shows each message of a job."""

    def show(self, message: wire.JobMessage) -> None: ...


@contextmanager
def following(console: Console, *, as_json: bool) -> Iterator[Shows]:
    """How to show a job's messages here: JSON lines, a live bar, or a line for each change."""
    if as_json:
        yield _JsonLines(console)
    elif not console.is_terminal:
        yield _Lines(console)
    else:
        with _progress(console) as progress:
            yield _Bar(progress)


@dataclass(slots=True)
class _Scene:
    """The messages so far, as one line."""

    status: str = "queued"
    progress: float = 0.0
    detail: str = ""

    def take(self, message: wire.JobMessage) -> None:
        match message:
            case wire.StatusMessage():
                self.status, self.progress = message.status, message.progress
                self.detail = message.reason or ""
            case wire.ProgressMessage():
                # Only a job that runs has progress; the change of state may have been missed.
                self.status = "running" if self.status == "queued" else self.status
                self.progress, self.detail = message.progress, doing(message)
            case wire.ArtifactMessage():
                self.detail = message.name
            case wire.DoneMessage():
                self.status, self.detail = message.status, ""
                self.progress = 1.0 if message.status == "succeeded" else self.progress


class _Lines:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._scene = _Scene()
        self._last = ""

    def show(self, message: wire.JobMessage) -> None:
        self._scene.take(message)
        scene = self._scene
        line = f"{scene.status:<9} {scene.progress:>4.0%}  {scene.detail}".rstrip()
        if line != self._last:
            say(self._console, line)
            self._console.file.flush()  # who reads a pipe wants it as it happens
        self._last = line


class _Bar:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=1.0, status="", detail="")
        self._scene = _Scene()

    def show(self, message: wire.JobMessage) -> None:
        self._scene.take(message)
        self._progress.update(
            self._task,
            completed=self._scene.progress,
            status=self._scene.status,
            detail=clean(self._scene.detail),
        )


class _StatusColumn(ProgressColumn):
    """The status in its colour; wide enough for all, so that the bar does not move."""

    def __init__(self) -> None:
        super().__init__(table_column=Column(no_wrap=True, width=max(map(len, STYLES))))

    def render(self, task: Task) -> Text:
        status = str(task.fields["status"])
        return Text(status, style=STYLES.get(status, ""))


def _progress(console: Console) -> Progress:
    detail = Column(no_wrap=True, overflow="ellipsis", ratio=1)
    return Progress(
        _StatusColumn(),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TextColumn("{task.fields[detail]}", markup=False, table_column=detail),
        TimeElapsedColumn(),
        console=console,
        expand=True,
    )


class _JsonLines:
    def __init__(self, console: Console) -> None:
        self._console = console

    def show(self, message: wire.JobMessage) -> None:
        json_line(self._console, message.model_dump(mode="json", exclude_none=True))
