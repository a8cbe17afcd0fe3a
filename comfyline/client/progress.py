"""Jobs on their way: JSON lines, live bars, or a line for each change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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

from comfyline.client.view import STYLES, clean, doing, json_line, say
from comfyline.contract.v1.socket import (
    ArtifactMessage,
    DoneMessage,
    JobMessage,
    ProgressMessage,
    StatusMessage,
)


class Shows(Protocol):
    """Shows each message of a job."""

    def show(self, message: JobMessage) -> None: ...


@contextmanager
def following(console: Console, job_ids: Sequence[str], *, as_json: bool) -> Iterator[Shows]:
    """How to show jobs' messages here: JSON lines, live bars, or a line for each change.

    Of several jobs each bar and each line says which it is of.
    """
    many = len(job_ids) > 1
    if as_json:
        yield _JsonLines(console)
    elif not console.is_terminal:
        yield _Lines(console, job_ids, many=many)
    else:
        with _progress(console, many=many) as progress:
            yield _Bars(progress, job_ids)


@dataclass(slots=True)
class _Scene:
    """The messages of one job so far, as one line."""

    status: str = "queued"
    progress: float = 0.0
    detail: str = ""

    def take(self, message: JobMessage) -> bool:
        """Whether there is anything new to say."""
        is_news = True
        match message:
            case StatusMessage():
                self.status, self.progress = message.status, message.progress
                self.detail = _why(message)
            case ProgressMessage():
                # Only a job that runs has progress; the change of state may have been missed.
                self.status = "running" if self.status == "queued" else self.status
                self.progress, self.detail = message.progress, doing(message)
            case ArtifactMessage():
                self.detail = message.name
            case DoneMessage():
                is_news = self.status != message.status or message.error is not None
                self.status = message.status
                self.detail = message.error.message if message.error else ""
                self.progress = 1.0 if message.status == "succeeded" else self.progress
        return is_news


def _why(message: StatusMessage) -> str:
    if message.queue_position is not None:
        return f"number {message.queue_position} in the queue"
    return _REASONS.get(message.reason or "", message.reason or "")


_REASONS = {
    "claimed": "a worker has it",
    "interrupted": "its worker had to go; it waits for another",
    "attempt_failed": "an attempt failed; it is tried again",
    "worker_lost": "its worker was lost; it is tried again",
}


class _Lines:
    def __init__(self, console: Console, job_ids: Sequence[str], *, many: bool) -> None:
        self._console = console
        self._scenes = {job_id: _Scene() for job_id in job_ids}
        self._last: dict[str, str] = {}
        self._many = many

    def show(self, message: JobMessage) -> None:
        job_id, scene = message.job_id, self._scenes[message.job_id]
        is_news = scene.take(message)
        which = f"{job_id}  " if self._many else ""
        line = f"{which}{scene.status:<9} {scene.progress:>4.0%}  {scene.detail}".rstrip()
        if is_news and line != self._last.get(job_id):
            say(self._console, line)
            self._console.file.flush()  # who reads a pipe wants it as it happens
        self._last[job_id] = line


class _Bars:
    def __init__(self, progress: Progress, job_ids: Sequence[str]) -> None:
        self._progress = progress
        self._tasks = {
            job_id: progress.add_task(job_id, total=1.0, status="", detail="connecting …")
            for job_id in job_ids
        }
        self._scenes = {job_id: _Scene() for job_id in job_ids}

    def show(self, message: JobMessage) -> None:
        scene, task = self._scenes[message.job_id], self._tasks[message.job_id]
        scene.take(message)
        self._progress.update(
            task,
            completed=scene.progress,
            status=scene.status,
            detail=clean(scene.detail),
        )
        if isinstance(message, DoneMessage):
            self._progress.stop_task(task)


class _StatusColumn(ProgressColumn):
    """The status in its colour; wide enough for all, so that the bar does not move."""

    def __init__(self) -> None:
        super().__init__(table_column=Column(no_wrap=True, width=max(map(len, STYLES))))

    def render(self, task: Task) -> Text:
        status = str(task.fields["status"])
        return Text(status, style=STYLES.get(status, ""))


def _progress(console: Console, *, many: bool) -> Progress:
    detail = Column(no_wrap=True, overflow="ellipsis", ratio=1)
    whole = Column(no_wrap=True)  # an id that is cut is of no use
    which = [TextColumn("{task.description}", markup=False, table_column=whole)] if many else []
    return Progress(
        *which,
        _StatusColumn(),
        BarColumn(bar_width=12 if many else 24),
        TaskProgressColumn(),
        TextColumn("{task.fields[detail]}", markup=False, table_column=detail),
        TimeElapsedColumn(),
        console=console,
        expand=True,
    )


class _JsonLines:
    def __init__(self, console: Console) -> None:
        self._console = console

    def show(self, message: JobMessage) -> None:
        json_line(self._console, message.model_dump(mode="json", exclude_none=True))
