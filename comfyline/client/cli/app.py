"""The command line: `comfyline submit | get | files | list | watch | ...`.

stdout carries results only (ids, progress, paths, JSON lines); hints and errors go to stderr.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Annotated, TypeVar, cast

import typer
from pydantic import BaseModel
from rich.console import Console

from comfyline.client.blocking.client import Comfyline, Job
from comfyline.client.cli import arguments as args
from comfyline.client.cli import view
from comfyline.client.cli.extensions import ExtensibleGroup
from comfyline.client.cli.watching import MAX_PAGE, follow_and_save, hint, save, unfinished
from comfyline.client.errors import ComfylineClientError, NotConfigured
from comfyline.client.options import SubmitOptions
from comfyline.client.retries import Retries
from comfyline.contract.v1 import common

USAGE = 2
RETRIES = Retries(tries=3)  # a person waits, and can try again
Answer = TypeVar("Answer", bound=BaseModel)
app = typer.Typer(
    cls=ExtensibleGroup,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,  # local variables hold the API key
    help="Run ComfyUI jobs on a Comfyline service.\n\n"
    "Set COMFYLINE_URL and COMFYLINE_API_KEY first, and COMFYLINE_WS_URL for live progress.\n\n"
    'Example: comfyline submit "a red fox in the snow" --watch --out pictures\n\n'
    "Exit codes: 0 succeeded, 1 failed or refused, 2 wrong usage, 3 canceled, 4 expired, "
    "130 interrupted by Ctrl-C.",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(f"comfyline {version('comfyline')}")
        raise typer.Exit


@app.callback()
def _main(
    _version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_version, is_eager=True),
    ] = False,
) -> None: ...


@app.command()
def submit(
    ctx: typer.Context,
    prompt: args.Prompt = None,
    negative: args.Negative = None,
    width: args.Width = None,
    height: args.Height = None,
    steps: args.Steps = None,
    cfg: args.Cfg = None,
    sampler: args.Sampler = None,
    scheduler: args.Scheduler = None,
    seed: args.Seed = None,
    model: args.Model = None,
    batch_size: args.BatchSize = None,
    workflow: args.Workflow = None,
    inputs: args.Inputs = None,
    priority: args.Priority = None,
    start_deadline: args.StartDeadline = None,
    execution_timeout: args.ExecutionTimeout = None,
    picture_format: args.PictureFormat = None,
    quality: args.Quality = None,
    previews: args.Previews = False,
    strict: args.Strict = False,
    reuse: args.Reuse = None,
    meta: args.Meta = None,
    idempotency_key: args.IdempotencyKey = None,
    watch: args.Watch = False,
    out: args.Out = None,
    as_json: args.AsJson = False,
) -> None:
    """Submit a job: a prompt, or a ComfyUI workflow.

    Prints the job's id. With --watch or --out it then waits until the job has ended.

    Example: comfyline submit "a red fox in the snow" --steps 30 --seed 7 --out pictures

    Example: comfyline submit --workflow graph.json --input 10.image=photo.png --watch
    """
    picture = SubmitOptions(
        negative_prompt=negative,
        width=width,
        height=height,
        steps=steps,
        cfg_scale=cfg,
        sampler=sampler,
        scheduler=scheduler,
        seed=seed,
        model=model,
        batch_size=batch_size,
    )
    _check_kind(prompt, workflow, inputs, picture)
    options = SubmitOptions(
        **picture,
        priority=cast("common.Priority | None", priority),
        start_deadline_seconds=start_deadline,
        execution_timeout_seconds=execution_timeout,
        reuse=reuse,
        output=args.output_choice(picture_format, quality),
        previews=previews or None,
        strict=strict or None,
        metadata=args.metadata(meta),
    )
    graph = args.graph(workflow) if workflow else None
    files = args.input_files(inputs)
    with _client(ctx, as_json) as client:
        job = client.submit(
            prompt, workflow=graph, files=files, idempotency_key=idempotency_key, **options
        )
        _show_accepted(job, as_json)
        _follow_if(watch, client, job, out, as_json)


def _check_kind(
    prompt: str | None, workflow: Path | None, inputs: list[str] | None, picture: SubmitOptions
) -> None:
    """Refuse what does not fit together: a job is either a prompt or a workflow."""
    if (prompt is None) == (workflow is None):
        raise typer.BadParameter("give either a PROMPT or --workflow FILE")
    if workflow is not None and any(value is not None for value in picture.values()):
        raise typer.BadParameter(
            "--workflow takes no options of the picture, such as --steps: set them in the workflow"
        )
    if inputs and workflow is None:
        raise typer.BadParameter("--input needs --workflow: it names a node of the workflow")


@app.command()
def get(ctx: typer.Context, job_id: args.JobId, as_json: args.AsJson = False) -> None:
    """Show one job.

    Example: comfyline get job_01jc3m9p8qk2v5w7x9y0z1a2b3
    """
    with _client(ctx, as_json) as client:
        _show(client.get(job_id), as_json, view.job_details)


@app.command()
def files(ctx: typer.Context, job_id: args.JobId, as_json: args.AsJson = False) -> None:
    """List all files of an ended job: number, name, size and type; with --json also the URLs.

    Example: comfyline files job_01jc3m9p8qk2v5w7x9y0z1a2b3
    """
    with _client(ctx, as_json) as client:
        for artifact in (each for page in client.artifacts(job_id) for each in page.artifacts):
            _show(artifact, as_json, view.file_line)


@app.command("list")
def list_jobs(
    ctx: typer.Context,
    status: args.StatusFilter = None,
    limit: args.Limit = 20,
    as_json: args.AsJson = False,
) -> None:
    """List your jobs, newest first.

    Example: comfyline list --status failed --limit 5
    """
    with _client(ctx, as_json) as client:
        pages = client.list(cast("common.Status | None", status), min(limit, MAX_PAGE))
        jobs = list(islice((job for page in pages for job in page.jobs), limit))
    if as_json:
        for job in jobs:
            view.json_line(Console(), job.model_dump(mode="json"))
    elif jobs:
        view.job_table(Console(), jobs, datetime.now(UTC))
    else:
        hint("No jobs.")


@app.command()
def watch(
    ctx: typer.Context,
    job_ids: args.JobIds = None,
    every: args.AllJobs = False,
    out: args.Out = None,
    as_json: args.AsJson = False,
) -> None:
    """Follow jobs until they have ended. Ctrl-C stops watching; the jobs continue.

    With several jobs the exit code is that of the first one that did not succeed.

    Example: comfyline watch job_01jc3m9p8qk2v5w7x9y0z1a2b3 --out pictures

    Example: comfyline watch --all
    """
    if bool(job_ids) == every:
        raise typer.BadParameter("give either job ids or --all")
    with _client(ctx, as_json) as client:
        found = list(dict.fromkeys(job_ids or unfinished(client)))
        if not found:
            return hint("No jobs are waiting or running.")
        raise typer.Exit(follow_and_save(client, found, out, as_json))


@app.command()
def download(
    ctx: typer.Context, job_id: args.JobId, out: args.Directory, as_json: args.AsJson = False
) -> None:
    """Save the files of a job that has succeeded. Files that are there are not fetched again.

    Example: comfyline download job_01jc3m9p8qk2v5w7x9y0z1a2b3 --out pictures
    """
    with _client(ctx, as_json) as client:
        save(client, job_id, out, as_json)


@app.command()
def cancel(
    ctx: typer.Context, job_ids: args.Ids, purge: args.Purge = False, as_json: args.AsJson = False
) -> None:
    """Cancel jobs: a waiting one ends at once, a running one when ComfyUI has stopped it.

    Example: comfyline cancel job_01jc3m9p8qk2v5w7x9y0z1a2b3
    """
    with _client(ctx, as_json) as client:
        for job_id in dict.fromkeys(job_ids):
            answer = client.purge(job_id) if purge else client.cancel(job_id)
            _show(answer, as_json, view.canceled if len(job_ids) == 1 else view.canceled_one)


@app.command()
def retry(
    ctx: typer.Context,
    job_id: args.JobId,
    watch: args.Watch = False,
    out: args.Out = None,
    as_json: args.AsJson = False,
) -> None:
    """Run a job again that failed, was canceled or expired: a new job with the same input.

    Prints the new job's id. Repeating the command gives the same new job.

    Example: comfyline retry job_01jc3m9p8qk2v5w7x9y0z1a2b3 --watch
    """
    with _client(ctx, as_json) as client:
        job = client.retry(job_id)
        _show_accepted(job, as_json)
        _follow_if(watch, client, job, out, as_json)


@app.command()
def models(ctx: typer.Context, as_json: args.AsJson = False) -> None:
    """Show what jobs can use: checkpoints, samplers, schedulers, node classes.

    Example: comfyline models
    """
    with _client(ctx, as_json) as client:
        _show(client.models(), as_json, view.fields)


@app.command()
def usage(ctx: typer.Context, as_json: args.AsJson = False) -> None:
    """Show what your jobs have used so far.

    Example: comfyline usage
    """
    with _client(ctx, as_json) as client:
        _show(client.usage(), as_json, view.fields)


# --- what the commands share ---------------------------------------------------------------------


@contextmanager
def _client(ctx: typer.Context, as_json: bool) -> Iterator[Comfyline]:
    """A client, or that of a test. Its errors are shown and end the command."""
    try:
        with ctx.obj or Comfyline(retries=RETRIES) as client:
            yield client
    except ComfylineClientError as error:
        show = view.json_error if as_json else view.error
        show(Console(stderr=True), error)
        raise typer.Exit(USAGE if isinstance(error, NotConfigured) else 1) from error


def _show(answer: Answer, as_json: bool, show: Callable[[Console, Answer], None]) -> None:
    if as_json:
        view.json_line(Console(), answer.model_dump(mode="json"))
    else:
        show(Console(), answer)


def _follow_if(watch: bool, client: Comfyline, job: Job, out: Path | None, as_json: bool) -> None:
    if watch or out:
        raise typer.Exit(follow_and_save(client, [job.id], out, as_json))
    if not as_json:
        hint(f"Follow the job: comfyline watch {job.id}")


def _show_accepted(job: Job, as_json: bool) -> None:
    if as_json and job.accepted is not None:
        accepted = job.accepted.model_dump(mode="json")
        view.json_line(Console(), {"type": "accepted", **accepted})
    else:
        view.say(Console(), job.id)
