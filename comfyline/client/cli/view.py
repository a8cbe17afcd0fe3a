"""Shows jobs and errors in the terminal.

Every text is printed by `say` or as a `plain` cell, because other people choose node names,
messages, file names and labels. Control characters and rich's brackets in them have no effect.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from comfyline.client.errors import ApiError, ComfylineClientError, TransportFailed, Unauthorized
from comfyline.contract.texts import clean
from comfyline.contract.v1 import responses, results
from comfyline.contract.v1.socket import DoneMessage, ProgressMessage

STYLES = {
    "queued": "yellow",
    "running": "cyan",
    "canceling": "magenta",
    "succeeded": "green",
    "failed": "red",
    "canceled": "magenta",
    "expired": "red",
}
MAX_VALUE_LENGTH = 200  # characters of one reported value
MAX_SHOWN = 10_000  # characters of any text; an answer may hold megabytes


def plain(text: str, style: str = "") -> Text:
    """The text on one line, without effect on the terminal."""
    return Text(clean(_shortened(text, MAX_SHOWN)), style=style)


def say(console: Console, text: str, style: str = "") -> None:
    """Print a line without wrapping it, so that ids, paths and commands can be copied."""
    console.print(plain(text, style), soft_wrap=True)


def json_line(console: Console, value: object) -> None:
    """Print a JSON value as one line, and flush it; it is neither styled nor cut off."""
    # json.dumps writes ASCII, which every locale's stdout accepts, and escapes control characters.
    console.file.write(json.dumps(value) + "\n")
    console.file.flush()


def what_runs(at: ProgressMessage | responses.ProgressDetail) -> str:
    """The node that runs and its step, such as "KSampler step 8/20"."""
    if at.step is not None and at.steps is not None:
        what: str | None = f"step {at.step}/{at.steps}"
    else:
        what = at.message
    where = at.node_type or at.node
    # The message of a node without steps is its class, which is not printed twice.
    return " ".join(dict.fromkeys(part for part in (where, what) if part))


# --- a job -----------------------------------------------------------------------------------


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
    _show_pairs(console, _details(job))


def canceled(console: Console, answer: responses.CancelAnswer) -> None:
    """Print what a cancel or a purge has done."""
    say(console, f"{answer.status}: {answer.message}")


def canceled_one(console: Console, answer: responses.CancelAnswer) -> None:
    """Print what a cancel or a purge has done to one of several jobs."""
    say(console, f"{answer.job_id}  {answer.status}: {answer.message}")


def fields(console: Console, response: responses.Models | responses.UsageView) -> None:
    """Print each field of a response with its name."""
    values = response.model_dump(mode="json").items()
    _show_pairs(console, ((name.replace("_", " "), _value(value)) for name, value in values))


def _value(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "any"  # an empty list means no restriction
    return str(value)


def _show_pairs(console: Console, pairs: Iterable[tuple[str, str | Text]]) -> None:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in pairs:
        grid.add_row(plain(name), value if isinstance(value, Text) else plain(value))
    console.print(grid)


def _details(job: responses.JobView) -> Iterator[tuple[str, str | Text]]:
    yield "job", job.job_id
    yield "status", plain(job.status, STYLES.get(job.status, ""))
    if job.status in ("running", "canceling"):
        yield "progress", f"{job.progress:.0%}  {what_runs(job.progress_detail)}"
    yield "request", _request(job)
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
                _shortened(json.dumps(value, ensure_ascii=False), MAX_VALUE_LENGTH),
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


def file_line(console: Console, artifact: results.ArtifactView) -> None:
    """Print one file of a job."""
    say(console, f"{artifact.number}  {_file(artifact)}")


def _file(artifact: results.ArtifactView) -> str:
    kind = ", temporary" if artifact.temporary else ""
    return f"{artifact.name}  {artifact.bytes:,} bytes, {artifact.content_type}{kind}"


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _times(at: responses.Timestamps) -> Iterator[tuple[str, str]]:
    named = {"queued": at.queued_at, "started": at.started_at, "finished": at.finished_at}
    for name, when in named.items():
        if when is not None:
            yield name, f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    if at.started_at and at.finished_at:
        yield "took", _span(at.finished_at - at.started_at)
    if at.expires_at is not None:
        yield "kept until", f"{at.expires_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def job_table(console: Console, jobs: Iterable[responses.JobView], now: datetime) -> None:
    """Print one line for each job. Ids are never cut off; the request gets the rest of the line."""
    table = Table(
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
        header_style="dim",
        expand=True,  # the request gets the rest of the line, and no other column is cut off
    )
    for name in ("job", "status", "done", "age", "took"):
        table.add_column(name, no_wrap=True, justify="right" if name == "done" else "left")
    table.add_column("request", no_wrap=True, overflow="ellipsis", ratio=1)
    for job in jobs:
        table.add_row(*_row(job, now))
    console.print(table)


def _row(job: responses.JobView, now: datetime) -> Iterator[Text]:
    at = job.timestamps
    yield plain(job.job_id)
    yield plain(job.status, STYLES.get(job.status, ""))
    yield plain(f"{job.progress:.0%}")
    yield plain(_span(now - at.queued_at))
    yield plain(_span((at.finished_at or now) - at.started_at) if at.started_at else "")
    yield plain(_request(job))


def _request(job: responses.JobView) -> str:
    prompt = job.params.get("prompt")
    return " ".join(prompt.split()) if isinstance(prompt, str) else "a workflow"


def _span(time: timedelta) -> str:
    seconds = max(0.0, time.total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


# --- errors ---------------------------------------------------------------------------------------


def error(console: Console, problem: ComfylineClientError) -> None:
    """Print the error, the invalid fields, and the request id to give when asking for help."""
    message = problem.message if isinstance(problem, ApiError) else str(problem)
    console.print(Text.assemble(("Error: ", "bold red"), plain(message)), soft_wrap=True)
    if isinstance(problem, TransportFailed):
        say(console, "  Check that COMFYLINE_URL is right and that the service runs.")
    if not isinstance(problem, ApiError):
        return
    details = problem.problem
    for field in (details.errors if details else None) or ():
        # If there is one wrong field, the service also gives its message as the detail.
        what = "" if details and field.msg == details.detail else f": {field.msg}"
        say(console, f"  {'.'.join(map(str, field.loc))}{what}")
    if isinstance(problem, Unauthorized):
        say(console, "  Check that COMFYLINE_API_KEY holds a key of this service.")
    if problem.request_id:
        say(console, f"  request id {problem.request_id}", "dim")


def json_error(console: Console, problem: ComfylineClientError) -> None:
    """Print the error for programs, with the service's own problem document if there is one."""
    about: dict[str, object] = {"type": "error", "message": clean(str(problem))}
    if isinstance(problem, ApiError):
        about |= {"status": problem.status, "request_id": problem.request_id}
        if problem.problem is not None:
            about["problem"] = problem.problem.model_dump(mode="json", exclude_none=True)
    json_line(console, about)
