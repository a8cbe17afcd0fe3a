"""Shows jobs while they run: as JSON lines, as live bars, or as a line for each change."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskProgressColumn
from rich.table import Column
from rich.text import Text

from comfyline.client.screen import STYLES, json_line, plain, say, short_ids, span, what_runs
from comfyline.contract.v1.socket import (
    ArtifactMessage,
    DoneMessage,
    JobMessage,
    ProgressMessage,
    StatusMessage,
)

Show = Callable[[JobMessage], None]

WIDE = 80  # columns; a narrower terminal gets no bar beside several jobs
FIRST_ESTIMATE = 0.02  # of a job must be done before the rest can be estimated
OTHER_LINES = 3  # of the terminal: the total, the prompt, and one to spare


@contextmanager
def display(
    console: Console,
    job_ids: Sequence[str],
    *,
    as_json: bool = False,
    requests: Mapping[str, str] | None = None,
) -> Iterator[Show]:
    """A function that shows a message: on live bars in a terminal, as a line in a pipe.

    With several jobs each line begins with its job's id. On bars the id is as short as commands
    accept it; what the job was asked for follows, if `requests` has it, and the last bar is the
    total.
    """
    if as_json:
        yield lambda message: json_line(console, message.model_dump(mode="json", exclude_none=True))
    elif not console.is_terminal:
        yield _Lines(console, job_ids).show
    else:
        with _progress(console, is_one=len(job_ids) == 1) as progress:
            yield _Bars(progress, job_ids, requests or {}).show


@dataclass(slots=True)
class JobLine:
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


# --- in a pipe ------------------------------------------------------------------------------------


class _Lines:
    def __init__(self, console: Console, job_ids: Sequence[str]) -> None:
        self._console = console
        self._jobs = {job_id: JobLine() for job_id in job_ids}
        self._last: dict[str, str] = {}
        self._many = len(job_ids) > 1

    def show(self, message: JobMessage) -> None:
        job_id, job = message.job_id, self._jobs[message.job_id]
        is_news = job.take(message)
        prefix = f"{job_id}  " if self._many else ""
        line = f"{prefix}{job.status:<9} {job.progress:>4.0%}  {job.detail}".rstrip()
        if is_news and line != self._last.get(job_id):
            say(self._console, line)
            self._console.file.flush()  # a program that reads the pipe wants it at once
        self._last[job_id] = line


# --- in a terminal --------------------------------------------------------------------------------


@dataclass(slots=True)
class _Bar:
    """What a bar shows beside its length."""

    line: JobLine
    request: str = ""
    began_with: float = 0.0  # the progress when the job was first seen to run


class _Bars:
    """A bar for each job, and the total of several. Bars that have no room are hidden."""

    def __init__(
        self, progress: Progress, job_ids: Sequence[str], requests: Mapping[str, str]
    ) -> None:
        self._progress = progress
        names = short_ids(job_ids)
        self._bars = {
            job_id: _Bar(JobLine(status="", detail="connecting …"), requests.get(job_id, ""))
            for job_id in job_ids
        }
        self._tasks = {
            job_id: progress.add_task(names[job_id], total=1.0, start=False, bar=bar)
            for job_id, bar in self._bars.items()
        }
        self._ended: set[str] = set()
        self._total = _Bar(JobLine(status=""))
        count = float(len(job_ids))
        self._total_task = progress.add_task(
            "total", total=count, visible=count > 1, bar=self._total
        )
        self._hide_what_has_no_room()

    def show(self, message: JobMessage) -> None:
        bar, task = self._bars[message.job_id], self._tasks[message.job_id]
        was_running = bar.line.status == "running"
        bar.line.take(message)
        if bar.line.status == "running" and not was_running:
            # The clock counts the time that the job runs, not the time that it waits.
            bar.began_with = bar.line.progress
            self._progress.reset(task, total=1.0, bar=bar)
        self._progress.update(task, completed=bar.line.progress)
        if isinstance(message, DoneMessage):
            self._progress.stop_task(task)
            self._ended.add(message.job_id)
            self._hide_what_has_no_room()
        self._show_total()

    def _show_total(self) -> None:
        parts = (1.0 if i in self._ended else bar.line.progress for i, bar in self._bars.items())
        self._total.line.detail = f"{len(self._ended)} of {len(self._bars)} ended"
        self._progress.update(self._total_task, completed=sum(parts))

    def _hide_what_has_no_room(self) -> None:
        room = max(1, self._progress.console.height - OTHER_LINES)
        if len(self._tasks) > room:
            shown = sorted(self._tasks, key=self._ended.__contains__)[:room]
            for job_id, task in self._tasks.items():
                self._progress.update(task, visible=job_id in shown)


class _Cell(ProgressColumn):
    """A cell with a text that `text_of` makes of the task."""

    max_refresh = None

    def __init__(self, text_of: Callable[[Task], Text], **column: object) -> None:
        options = {"no_wrap": True, **column}
        super().__init__(table_column=Column(**options))  # type: ignore[arg-type]
        self._text_of = text_of

    def render(self, task: Task) -> Text:
        return self._text_of(task)


def _status(task: Task) -> Text:
    status = task.fields["bar"].line.status
    return plain(status, STYLES.get(status, ""))


def _detail(task: Task) -> Text:
    bar: _Bar = task.fields["bar"]
    parts = plain(bar.line.detail), plain(bar.request, "dim")
    return Text("  ").join(part for part in parts if part)


def _time(task: Task) -> Text:
    """How long the job runs, and how long it will go on at this pace."""
    if task.elapsed is None or task.fields["bar"].line.status == "queued":
        return Text()
    left = _seconds_left(task)
    ending = "" if left is None else f", ~{span(timedelta(seconds=left))} left"
    return Text(f"{span(timedelta(seconds=task.elapsed))}{ending}", style="dim")


def _seconds_left(task: Task) -> float | None:
    total, done = task.total or 1.0, task.completed - task.fields["bar"].began_with
    is_ended = task.stop_time is not None or task.completed >= total
    if is_ended or not task.elapsed or done < FIRST_ESTIMATE * total:
        return None
    left: float = task.elapsed * (total - task.completed) / done
    return left


def _progress(console: Console, *, is_one: bool) -> Progress:
    status_width = max(map(len, STYLES))  # the bar does not move when the status changes
    bar = [BarColumn(bar_width=24 if is_one else 12)] if is_one or console.width >= WIDE else []
    name = [] if is_one else [_Cell(lambda task: plain(task.description))]
    return Progress(
        *name,
        _Cell(_status, width=status_width),
        *bar,
        TaskProgressColumn(),
        _Cell(_detail, overflow="ellipsis", ratio=1),
        _Cell(_time),
        console=console,
        expand=True,
        get_time=time.monotonic,
    )
