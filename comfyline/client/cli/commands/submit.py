"""`comfyline submit | retry | upload`: commands that make a job, or send files for jobs."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import typer
from rich.console import Console

from comfyline.client.blocking.client import Comfyline
from comfyline.client.blocking.job import Job
from comfyline.client.cli import arguments as args
from comfyline.client.cli.session import connected, hint, job_id_of
from comfyline.client.cli.watching import follow_and_save
from comfyline.client.options import SubmitOptions
from comfyline.client.screen import json_line, plain, say
from comfyline.contract.v1 import common


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(rich_help_panel=args.JOBS)(submit)
    app.command(rich_help_panel=args.JOBS)(retry)
    app.command(rich_help_panel=args.JOBS)(upload)


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
    with connected(ctx, as_json) as client:
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
    with connected(ctx, as_json) as client:
        job = client.retry(job_id_of(client, job_id))
        _show_accepted(job, as_json)
        _follow_if(watch, client, job, out, as_json)


def _follow_if(watch: bool, client: Comfyline, job: Job, out: Path | None, as_json: bool) -> None:
    if watch or out:
        raise typer.Exit(follow_and_save(client, [job.id], out, as_json))
    if not as_json:
        hint(f"Follow the job: comfyline watch {job.id}")


def _show_accepted(job: Job, as_json: bool) -> None:
    if as_json and job.accepted is not None:
        accepted = job.accepted.model_dump(mode="json")
        json_line(Console(), {"type": "accepted", **accepted})
    else:
        say(Console(), job.id)


def upload(ctx: typer.Context, files: args.Files, as_json: args.AsJson = False) -> None:
    """Send files before the jobs that use them. Comfy's own clients then need not send them.

    Prints how a workflow names each file. Such a client only sends files of up to 4 MB itself.

    Example: comfyline upload video.mp4 photo.png
    """
    with connected(ctx, as_json) as client:
        for file in files:
            with Console(stderr=True).status(plain(f"Sending {file}")):
                reference = client.upload(file)
            if as_json:
                json_line(Console(), {"file": str(file), "reference": reference})
            else:
                say(Console(), f"{reference} {file}")
