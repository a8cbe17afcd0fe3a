"""Shows jobs while they run: as JSON lines, as live bars, or as a line for each change."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

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

from comfyline.client.cli.view import STYLES, json_line, plain, say, what_runs
from comfyline.contract.texts import clean
from comfyline.contract.v1.socket import (
    ArtifactMessage,
    DoneMessage,
    JobMessage,
    ProgressMessage,
    StatusMessage,
)


@contextmanager
def display(
    console: Console, job_ids: Sequence[str], *, as_json: bool
) -> Iterator[Callable[[JobMessage], None]]:
    """A function that shows a message: on live bars in a terminal, as a line in a pipe.

    With several jobs each bar and each line begins with its job's id.
    """
    many = len(job_ids) > 1
    if as_json:
        yield lambda message: json_line(console, message.model_dump(mode="json", exclude_none=True))
    elif not console.is_terminal:
        yield _Lines(console, job_ids, many=many).show
    else:
        with _progress(console, many=many) as progress:
            yield _Bars(progress, job_ids).show


@dataclass(slots=True)
class _Line:
    """One job's messages so far, as one line of text."""

    status: str = "queued"
    progress: float = 0.0
    detail: str = ""

    def take(self, message: JobMessage) -> bool:
        """Take the message in; False if the line says nothing new."""
        is_news = True
        match message:
            case StatusMessage():
                self.status, self.progress = message.status, message.progress
                self.detail = _reason(message)
            case ProgressMessage():
                # Only a running job has progress; the message of that state may have been missed.
                self.status = "running" if self.status == "queued" else self.status
                self.progress, self.detail = message.progress, what_runs(message)
            case ArtifactMessage():
                self.detail = message.name
            case DoneMessage():
                is_news = self.status != message.status or message.error is not None
                self.status = message.status
                self.detail = message.error.message if message.error else ""
                self.progress = 1.0 if message.status == "succeeded" else self.progress
        return is_news


def _reason(message: StatusMessage) -> str:
    if message.queue_position is not None:
        return f"number {message.queue_position} in the queue"
    return _REASONS.get(message.reason or "", message.reason or "")


_REASONS = {
    "claimed": "a worker has taken the job",
    "interrupted": "the worker was stopped; the job waits for another one",
    "attempt_failed": "an attempt failed; the job is tried again",
    "worker_lost": "the worker was lost; the job is tried again",
    "worker_unhealthy": "the worker is out of order; the job is tried on another one",
}


class _Lines:
    def __init__(self, console: Console, job_ids: Sequence[str], *, many: bool) -> None:
        self._console = console
        self._jobs = {job_id: _Line() for job_id in job_ids}
        self._last: dict[str, str] = {}
        self._many = many

    def show(self, message: JobMessage) -> None:
        job_id, job = message.job_id, self._jobs[message.job_id]
        is_news = job.take(message)
        prefix = f"{job_id}  " if self._many else ""
        line = f"{prefix}{job.status:<9} {job.progress:>4.0%}  {job.detail}".rstrip()
        if is_news and line != self._last.get(job_id):
            say(self._console, line)
            self._console.file.flush()  # a program that reads the pipe wants it at once
        self._last[job_id] = line


class _Bars:
    def __init__(self, progress: Progress, job_ids: Sequence[str]) -> None:
        self._progress = progress
        self._tasks = {
            job_id: progress.add_task(job_id, total=1.0, status="", detail="connecting …")
            for job_id in job_ids
        }
        self._jobs = {job_id: _Line() for job_id in job_ids}

    def show(self, message: JobMessage) -> None:
        job, task = self._jobs[message.job_id], self._tasks[message.job_id]
        job.take(message)
        self._progress.update(
            task, completed=job.progress, status=job.status, detail=clean(job.detail)
        )
        if isinstance(message, DoneMessage):
            self._progress.stop_task(task)


class _StatusColumn(ProgressColumn):
    """The status in its colour; as wide as the longest one, so that the bar does not move."""

    def __init__(self) -> None:
        super().__init__(table_column=Column(no_wrap=True, width=max(map(len, STYLES))))

    def render(self, task: Task) -> Text:
        status = str(task.fields["status"])
        return plain(status, STYLES.get(status, ""))


def _progress(console: Console, *, many: bool) -> Progress:
    detail = Column(no_wrap=True, overflow="ellipsis", ratio=1)
    whole = Column(no_wrap=True)  # a shortened id is useless
    job_column = (
        [TextColumn("{task.description}", markup=False, table_column=whole)] if many else []
    )
    return Progress(
        *job_column,
        _StatusColumn(),
        BarColumn(bar_width=12 if many else 24),
        TaskProgressColumn(),
        TextColumn("{task.fields[detail]}", markup=False, table_column=detail),
        TimeElapsedColumn(),
        console=console,
        expand=True,
    )
