"""Shows jobs, their files and other answers in the terminal."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import UTC

from rich.console import Console
from rich.table import Table
from rich.text import Text

from comfyline.client.screen import STYLES, plain, request_of, say, shortened, span, what_runs
from comfyline.contract.v1 import responses, results
from comfyline.contract.v1.history import EventView
from comfyline.contract.v1.socket import DoneMessage

MAX_VALUE_LENGTH = 200  # characters of one reported value


def ending(console: Console, job_id: str, done: DoneMessage) -> None:
    """Print how the job has ended, unless it has succeeded, and the notes about its result."""
    if done.status != "succeeded":
        say(console, f"Job {job_id} {_ENDINGS[done.status]}", style="bold red")
    if done.error is not None:
        _show_error(console, done.error)
    for note in notes(done.result) if done.result else ():
        say(console, f"Job {job_id}: {note}", "yellow")


_ENDINGS = {
    "failed": "failed.",
    "canceled": "was canceled.",
    "expired": "expired: no worker started it before its start deadline.",
}


def _show_error(console: Console, error: responses.ErrorView) -> None:
    for line in error.message.splitlines():
        say(console, f"  {line}")
    node = f"node {error.node_id} ({error.node_type or 'unknown class'})" if error.node_id else ""
    attempt = f"attempt {error.attempt}" if error.attempt else ""
    say(console, "  " + ", ".join(part for part in (error.type, node, attempt) if part), "dim")


def job_details(console: Console, job: responses.JobView) -> None:
    """Print the details of one job."""
    show_pairs(console, _details(job))


def canceled(console: Console, answer: responses.CancelAnswer) -> None:
    """Print what a cancel or a purge has done."""
    say(console, f"{answer.status}: {answer.message}")


def canceled_one(console: Console, answer: responses.CancelAnswer) -> None:
    """Print what a cancel or a purge has done to one of several jobs."""
    say(console, f"{answer.job_id}  {answer.status}: {answer.message}")


def usage(console: Console, used: responses.UsageView) -> None:
    """Print what the owner has used in all, and in each month that the response has."""
    total = {"owner": used.owner, "gpu seconds": f"{used.gpu_seconds:.1f}", "jobs": str(used.jobs)}
    months = {m.month: f"{m.gpu_seconds:.1f} s of GPU, {m.jobs} jobs" for m in used.months or ()}
    show_pairs(console, (total | months).items())


def fields(console: Console, response: responses.Models) -> None:
    """Print each field of a response with its name."""
    values = response.model_dump(mode="json").items()
    show_pairs(console, ((name.replace("_", " "), _value(value)) for name, value in values))


def _value(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "any"  # an empty list means no restriction
    return str(value)


def show_pairs(console: Console, pairs: Iterable[tuple[str, str | Text]]) -> None:
    """Print names and texts in two columns."""
    rows = [(plain(name), v if isinstance(v, Text) else plain(v)) for name, v in pairs]
    if not console.is_terminal:  # nothing is wrapped, and no line ends with blanks
        width = max((len(name) for name, _ in rows), default=0)
        for name, value in rows:
            console.file.write(f"{name.plain:<{width}}  {value.plain}\n")
        return
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for row in rows:
        grid.add_row(*row)
    console.print(grid)


def _details(job: responses.JobView) -> Iterator[tuple[str, str | Text]]:
    yield "job", job.job_id
    yield "status", plain(job.status, STYLES.get(job.status, ""))
    if job.status in ("running", "canceling"):
        yield "progress", f"{job.progress:.0%}  {what_runs(job.progress_detail)}"
    yield "request", request_of(job)
    # The parameters are what repeats the picture: above all the seed, which may have been drawn.
    yield from ((name.replace("_", " "), _value(v)) for name, v in _parameters(job))
    yield "priority", job.priority
    yield from ((f"meta {name}", value) for name, value in job.metadata.items())
    yield from _times(job.timestamps)
    if job.attempt > 1 or job.interruptions:
        yield "attempts", f"{job.attempt}, interrupted {job.interruptions} times"
    if job.nodes_cached:
        whole = ": the result comes from an earlier run" if job.cached else ""
        yield "cached", f"{job.nodes_cached} nodes{whole}"
    if job.error is not None:
        yield "error", f"{job.error.message} ({job.error.type})"
    if job.result is not None:
        yield from _result(job.job_id, job.result)


def _parameters(job: responses.JobView) -> Iterator[tuple[str, object]]:
    return ((name, v) for name, v in job.params.items() if name != "prompt" and v not in (None, ""))


def _result(job_id: str, result: results.ResultView) -> Iterator[tuple[str, str]]:
    yield from (("file", _file(artifact)) for artifact in result.artifacts)
    if (more := result.artifacts_total - len(result.artifacts)) > 0:
        yield "file", f"and {more:,} more: comfyline files {job_id}"
    for node, values in result.values.items():
        for key, value in values.items():
            yield (
                f"value {node}.{key}",
                shortened(json.dumps(value, ensure_ascii=False), MAX_VALUE_LENGTH),
            )
    yield from (("note", note) for note in notes(result))


def notes(result: results.ResultView) -> Iterator[str]:
    """Sentences about the parts of a result that are missing, with the reasons."""
    if result.empty_reason is not None:
        yield result.empty_reason
    if result.partial:
        yield "Some outputs of the workflow are missing."
    for warning in result.warnings:
        node = f" (node {warning.node_id}, {warning.node_type or 'unknown class'})"
        yield f"{warning.message}{node if warning.node_id else ''}"
    if result.values_cut:
        yield f"These values had no room: {', '.join(result.values_cut)}"


def event_line(console: Console, event: EventView) -> None:
    """Print one change of a job's state."""
    when = f"{event.at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    attempt = f"  attempt {event.attempt}" if event.attempt else ""
    line = f"{event.version:>4}  {when}  {event.status:<9}  {event.event}{attempt}"
    say(console, line, STYLES.get(event.status, ""))


def file_line(console: Console, artifact: results.ArtifactView) -> None:
    """Print one file of a job."""
    say(console, f"{artifact.number}  {_file(artifact)}")


def _file(artifact: results.ArtifactView) -> str:
    kind = ", temporary" if artifact.temporary else ""
    return f"{artifact.name}  {artifact.bytes:,} bytes, {artifact.content_type}{kind}"


def _times(at: responses.Timestamps) -> Iterator[tuple[str, str]]:
    named = {"queued": at.queued_at, "started": at.started_at, "finished": at.finished_at}
    for name, when in named.items():
        if when is not None:
            yield name, f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    if at.started_at and at.finished_at:
        yield "took", span(at.finished_at - at.started_at)
    if at.expires_at is not None:
        yield "kept until", f"{at.expires_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
