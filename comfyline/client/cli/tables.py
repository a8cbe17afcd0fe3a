"""Lists of jobs: columns in a terminal, tab-separated lines in a pipe."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from comfyline.client.screen import STYLES, plain, request_of, short_ids, span
from comfyline.contract.v1 import responses

WIDE = 80  # columns; a narrower terminal gets short ids and fewer columns


def job_table(console: Console, jobs: Sequence[responses.JobView], now: datetime) -> None:
    """Print one line for each job, newest first as given.

    In a pipe nothing is cut: id, status, time of the post and request, separated by tabs. In a wide
    terminal ids are whole; in a narrow one they are as short as commands accept them.
    """
    if console.is_terminal:
        console.print(_table(jobs, now, is_wide=console.width >= WIDE))
        return
    for job in jobs:
        at = f"{job.timestamps.queued_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        cells = (job.job_id, job.status, at, request_of(job), _why(job))
        # A tab of a text is one of the characters that `plain` takes out.
        console.file.write("\t".join(plain(cell).plain for cell in cells) + "\n")


def _table(jobs: Sequence[responses.JobView], now: datetime, *, is_wide: bool) -> Table:
    table = Table(
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
        header_style="dim",
        expand=True,  # the request gets the rest of the line, and no other column is cut off
    )
    for name in ("job", "status", "done", "age", "took") if is_wide else ("job", "status", "age"):
        table.add_column(name, no_wrap=True, justify="right" if name == "done" else "left")
    table.add_column("request", no_wrap=True, overflow="ellipsis", ratio=1)
    short = short_ids(job.job_id for job in jobs)
    for job in jobs:
        table.add_row(*(_wide_row(job, now) if is_wide else _narrow_row(job, short, now)))
    return table


def _wide_row(job: responses.JobView, now: datetime) -> Iterator[Text]:
    at = job.timestamps
    yield plain(job.job_id)
    yield plain(job.status, STYLES.get(job.status, ""))
    yield plain(f"{job.progress:.0%}")
    yield plain(span(now - at.queued_at))
    yield plain(span((at.finished_at or now) - at.started_at) if at.started_at else "")
    yield _request(job)


def _narrow_row(job: responses.JobView, short: dict[str, str], now: datetime) -> Iterable[Text]:
    yield plain(short[job.job_id])
    yield plain(job.status, STYLES.get(job.status, ""))
    yield plain(span(now - job.timestamps.queued_at))
    yield _request(job)


def _request(job: responses.JobView) -> Text:
    # The error comes first, because the end of the cell may be cut.
    why = _why(job)
    return Text.assemble(plain(why, "red"), "  " if why else "", plain(request_of(job)))


def _why(job: responses.JobView) -> str:
    return job.error.message if job.error else ""
