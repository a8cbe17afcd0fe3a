"""`comfyline get | list | events | cancel`: commands that show and change jobs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice, takewhile
from typing import cast

import typer
from rich.console import Console

from comfyline.client.blocking.client import Comfyline
from comfyline.client.cli import arguments as args
from comfyline.client.cli import errors, view
from comfyline.client.cli.session import MAX_PAGE, connected, hint, job_id_of, job_ids_of, show
from comfyline.client.cli.tables import job_table
from comfyline.client.cli.watching import unfinished
from comfyline.client.errors import ApiError
from comfyline.client.screen import json_line
from comfyline.contract.v1 import common
from comfyline.contract.v1.responses import JobPage, JobView

MAX_SEARCHES = 10  # calls that look for labels; each looks at 1,000 jobs


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(rich_help_panel=args.JOBS)(get)
    app.command("list", rich_help_panel=args.JOBS)(list_jobs)
    app.command(rich_help_panel=args.JOBS)(events)
    app.command(rich_help_panel=args.JOBS)(cancel)


def get(ctx: typer.Context, job_id: args.JobId, as_json: args.AsJson = False) -> None:
    """Show one job: its state, its parameters with the seed, its times and files.

    Example: comfyline get last
    """
    with connected(ctx, as_json) as client:
        show(client.get(job_id_of(client, job_id)), as_json, view.job_details)


def list_jobs(
    ctx: typer.Context,
    status: args.StatusFilter = None,
    meta: args.MetaFilter = None,
    since: args.Since = None,
    limit: args.Limit = 20,
    as_json: args.AsJson = False,
) -> None:
    """List your jobs, newest first.

    Piped, it prints a line for each job with tabs between id, status, time, request and error.

    Example: comfyline list --status failed --since 2h

    Example: comfyline list --meta album=foxes
    """
    labels, now = args.metadata(meta) or {}, datetime.now(UTC)
    since_when = args.moment(since, now) if since else None
    with connected(ctx, as_json) as client:
        found = _listed(client, cast("common.Status | None", status), labels, since_when, limit)
        jobs = list(islice(found, limit))
    if as_json:
        for job in jobs:
            json_line(Console(), job.model_dump(mode="json"))
    elif jobs:
        job_table(Console(), jobs, now)
    else:
        hint("No jobs.")


def _listed(
    client: Comfyline,
    status: common.Status | None,
    labels: dict[str, str],
    since: datetime | None,
    limit: int,
) -> Iterator[JobView]:
    pages = _pages(client, status, labels, min(limit, MAX_PAGE))
    newest = (job for page in pages for job in page.jobs)
    yield from takewhile(lambda job: since is None or job.timestamps.queued_at >= since, newest)


def _pages(
    client: Comfyline, status: common.Status | None, labels: dict[str, str], limit: int
) -> Iterator[JobPage]:
    for number, page in enumerate(client.list(status, limit, metadata=labels)):
        if labels and number == MAX_SEARCHES:
            hint(f"Only your newest {MAX_SEARCHES * 1000:,} jobs were searched for labels.")
            return
        yield page


def events(
    ctx: typer.Context, job_id: args.JobId, after: args.After = 0, as_json: args.AsJson = False
) -> None:
    """Show the changes of a job's state, oldest first.

    Example: comfyline events last
    """
    with connected(ctx, as_json) as client:
        for event in client.history(job_id_of(client, job_id), after).events:
            show(event, as_json, view.event_line)


def cancel(
    ctx: typer.Context,
    job_ids: args.JobIds = None,
    every: args.CancelAll = False,
    purge: args.Purge = False,
    yes: args.Yes = False,
    as_json: args.AsJson = False,
) -> None:
    """Cancel jobs: a waiting one ends at once, a running one when ComfyUI has stopped it.

    If a job cannot be canceled, the others are, and the exit code is 1.

    Example: comfyline cancel last

    Example: comfyline cancel --all
    """
    if bool(job_ids) == every:
        raise typer.BadParameter("give either job ids or --all")
    if every and purge:
        raise typer.BadParameter("--purge needs job ids: --all means the jobs that have not ended")
    with connected(ctx, as_json) as client:
        found = job_ids_of(client, job_ids or (job.job_id for job in unfinished(client)))
        if every and found and not yes:
            typer.confirm(f"Cancel {len(found)} jobs?", abort=True, err=True)
        failed = [job_id for job_id in found if not _cancel(client, job_id, purge, as_json, found)]
    if not found:
        hint("No jobs are waiting or running.")
    raise typer.Exit(bool(failed))


def _cancel(client: Comfyline, job_id: str, purge: bool, as_json: bool, found: list[str]) -> bool:
    """Cancel or purge one of the jobs that were found; False if the service refused it."""
    try:
        answer = client.purge(job_id) if purge else client.cancel(job_id)
    except ApiError as error:
        if len(found) == 1:
            raise
        (errors.json_error if as_json else errors.error)(Console(stderr=True), error)
        return False
    show(answer, as_json, view.canceled if len(found) == 1 else view.canceled_one)
    return True
