"""The command line: `comfyline submit | get | list | watch | cancel | retry | models | usage`.

stdout carries results only (ids, progress, paths, JSON lines); hints and errors go to stderr.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Annotated, get_args

import typer
from rich.console import Console

from comfyline.client import view
from comfyline.client.arguments import (
    AsJson,
    JobId,
    JobIds,
    Out,
    PictureFormat,
    Previews,
    Quality,
    files,
    graph,
    one_of,
    output_choice,
    pairs,
)
from comfyline.client.calls import SubmitOptions
from comfyline.client.errors import ComfylineClientError, NotConfigured
from comfyline.client.extensions import ExtensibleGroup
from comfyline.client.http import Comfyline, Job
from comfyline.client.watching import MAX_PAGE, hint, unfinished, watched
from comfyline.contract.v1 import common

USAGE = 2
app = typer.Typer(
    cls=ExtensibleGroup,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,  # locals hold the API key
    help="Run ComfyUI jobs on a Comfyline service.\n\n"
    "Set COMFYLINE_URL and COMFYLINE_API_KEY first, and COMFYLINE_WS_URL for live progress.\n\n"
    'Example: comfyline submit "a red fox in the snow" --watch --out pictures\n\n'
    "Exit codes: 0 succeeded, 1 failed or refused, 2 usage, 3 canceled, 4 expired.",
)


@app.command()
def submit(
    ctx: typer.Context,
    prompt: Annotated[
        str | None, typer.Argument(metavar="PROMPT", help="What the picture shows.")
    ] = None,
    workflow: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A graph in ComfyUI's API format, instead of a prompt; - reads stdin.",
        ),
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            metavar="NODE.INPUT=FILE",
            help="A file for the workflow to take, e.g. 10.image=photo.png; may be repeated.",
        ),
    ] = None,
    negative: Annotated[str | None, typer.Option(help="What it must not show.")] = None,
    width: Annotated[int | None, typer.Option(help="Pixels, a multiple of 8.")] = None,
    height: Annotated[int | None, typer.Option(help="Pixels, a multiple of 8.")] = None,
    steps: Annotated[int | None, typer.Option(help="Sampling steps.")] = None,
    cfg: Annotated[float | None, typer.Option(help="How closely to follow the prompt.")] = None,
    sampler: Annotated[str | None, typer.Option(help="As ComfyUI names it, e.g. euler.")] = None,
    scheduler: Annotated[str | None, typer.Option(help="As ComfyUI names it, e.g. karras.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed, the same picture.")] = None,
    model: Annotated[str | None, typer.Option(help="A checkpoint of the service.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="How many pictures.")] = None,
    priority: Annotated[
        str | None,
        typer.Option(metavar="high|normal|low", callback=one_of(common.Priority)),
    ] = None,
    start_deadline: Annotated[
        int | None, typer.Option(help="Seconds it may wait before it expires.")
    ] = None,
    execution_timeout: Annotated[
        int | None, typer.Option(help="Seconds it may run before it fails.")
    ] = None,
    picture_format: PictureFormat = None,
    quality: Quality = None,
    previews: Previews = False,
    reuse: Annotated[
        bool | None, typer.Option(help="Take an equal job of yours, if there is one, or never.")
    ] = None,
    meta: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="A label to find it by; may be repeated."),
    ] = None,
    idempotency_key: Annotated[
        str | None, typer.Option(help="Run again with the same key, it is the same job.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Wait and show progress.")] = False,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Submit a job: a prompt, or a ComfyUI workflow.

    Prints the job's id; with --watch or --out it waits for the end.

    Example: comfyline submit "a red fox in the snow" --steps 30 --seed 7 --out pictures

    Example: comfyline submit --workflow graph.json --input 10.image=photo.png --watch
    """
    picture: SubmitOptions = {
        "negative_prompt": negative,
        "width": width,
        "height": height,
        "steps": steps,
        "cfg_scale": cfg,
        "sampler": sampler,
        "scheduler": scheduler,
        "seed": seed,
        "model": model,
        "batch_size": batch_size,
    }
    if (prompt is None) == (workflow is None):
        raise typer.BadParameter("give either a PROMPT or --workflow FILE")
    if workflow is not None and any(value is not None for value in picture.values()):
        raise typer.BadParameter("a workflow says all about the picture itself; give no options")
    if inputs and workflow is None:
        raise typer.BadParameter("--input goes with --workflow: it names a node of the graph")
    options = SubmitOptions(
        **picture,
        priority=priority,  # type: ignore[typeddict-item]  # its callback has checked it
        start_deadline_seconds=start_deadline,
        execution_timeout_seconds=execution_timeout,
        reuse=reuse,
        output=output_choice(picture_format, quality),
        previews=previews or None,
        metadata=pairs(meta),
    )
    with _service(ctx, as_json) as client:
        job = client.submit(
            prompt,
            workflow=graph(workflow) if workflow else None,
            files=files(inputs),
            idempotency_key=idempotency_key,
            **options,
        )
        _show_accepted(job, as_json)
        _follow_if(watch, client, job, out, as_json)


@app.command()
def get(ctx: typer.Context, job_id: JobId, as_json: AsJson = False) -> None:
    """Show one job.

    Example: comfyline get job_01jc3m9p8qk2v5w7x9y0z1a2b3
    """
    with _service(ctx, as_json) as client:
        job = client.get(job_id)
    if as_json:
        view.json_line(Console(), job.model_dump(mode="json"))
    else:
        view.job_details(Console(), job)


@app.command("list")
def list_jobs(
    ctx: typer.Context,
    status: Annotated[
        str | None,
        typer.Option(
            metavar="STATUS",
            help="Only " + ", ".join(get_args(common.Status)) + ".",
            callback=one_of(common.Status),
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List your jobs, newest first.

    Example: comfyline list --status failed --limit 5
    """
    with _service(ctx, as_json) as client:
        pages = client.list(status, min(limit, MAX_PAGE))  # type: ignore[arg-type]
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
    job_ids: JobIds = None,
    every: Annotated[
        bool, typer.Option("--all", help="All of your jobs that have not ended.")
    ] = False,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Follow jobs to their end, from wherever they are; Ctrl-C leaves them running.

    Of several jobs the exit code is that of the first that did not succeed.

    Example: comfyline watch job_01jc3m9p8qk2v5w7x9y0z1a2b3 --out pictures

    Example: comfyline watch --all
    """
    if bool(job_ids) == every:
        raise typer.BadParameter("give either ids or --all")
    with _service(ctx, as_json) as client:
        found = list(dict.fromkeys(job_ids or unfinished(client)))
        if not found:
            return hint("No jobs are waiting or running.")
        raise typer.Exit(watched(client, found, out, as_json))


@app.command()
def cancel(
    ctx: typer.Context,
    job_id: JobId,
    purge: Annotated[
        bool, typer.Option("--purge", help="Remove an ended job, its files and all, for good.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Cancel a job: a waiting one at once, a running one as soon as the engine obeys.

    Example: comfyline cancel job_01jc3m9p8qk2v5w7x9y0z1a2b3
    """
    with _service(ctx, as_json) as client:
        answer = client.purge(job_id) if purge else client.cancel(job_id)
    if as_json:
        view.json_line(Console(), answer.model_dump(mode="json"))
    else:
        view.say(Console(), f"{answer.status}: {answer.message}")


@app.command()
def retry(
    ctx: typer.Context,
    job_id: JobId,
    watch: Annotated[bool, typer.Option("--watch", help="Wait and show progress.")] = False,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Run a job again that failed, was canceled or expired: a new job from the same input.

    Prints the new job's id. Doing it twice gives the same job.

    Example: comfyline retry job_01jc3m9p8qk2v5w7x9y0z1a2b3 --watch
    """
    with _service(ctx, as_json) as client:
        job = client.retry(job_id)
        _show_accepted(job, as_json)
        _follow_if(watch, client, job, out, as_json)


@app.command()
def models(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Show what jobs may ask for: checkpoints, samplers, schedulers, node classes.

    Example: comfyline models
    """
    with _service(ctx, as_json) as client:
        view.answer(Console(), client.models(), as_json=as_json)


@app.command()
def usage(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Show what your jobs have used so far.

    Example: comfyline usage
    """
    with _service(ctx, as_json) as client:
        view.answer(Console(), client.usage(), as_json=as_json)


# --- what the commands share ---------------------------------------------------------------------


@contextmanager
def _service(ctx: typer.Context, as_json: bool) -> Iterator[Comfyline]:
    """The client (a test's own, where it gives one); its errors are shown and end the command."""
    try:
        with ctx.obj or Comfyline() as client:
            yield client
    except ComfylineClientError as error:
        view.error(Console(stderr=True), error, as_json=as_json)
        raise typer.Exit(USAGE if isinstance(error, NotConfigured) else 1) from error


def _follow_if(watch: bool, client: Comfyline, job: Job, out: Path | None, as_json: bool) -> None:
    if watch or out:
        raise typer.Exit(watched(client, [job.id], out, as_json))
    if not as_json:
        hint(f"Follow it: comfyline watch {job.id}")


def _show_accepted(job: Job, as_json: bool) -> None:
    if as_json and job.accepted is not None:
        accepted = job.accepted.model_dump(mode="json")
        view.json_line(Console(), {"type": "accepted", **accepted})
    else:
        view.say(Console(), job.id)
