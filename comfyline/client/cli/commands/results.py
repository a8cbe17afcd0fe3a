"""`comfyline watch | files | download | open`: commands that follow jobs and fetch their files."""

from __future__ import annotations

import webbrowser
from urllib.parse import urlsplit

import typer
from rich.console import Console

from comfyline.client.blocking.client import Comfyline
from comfyline.client.cli import arguments as args
from comfyline.client.cli import view
from comfyline.client.cli.session import connected, hint, job_id_of, job_ids_of, show
from comfyline.client.cli.watching import follow_and_save, requests_of, save, unfinished
from comfyline.client.errors import DownloadFailed, InvalidRequest
from comfyline.client.screen import say


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(rich_help_panel=args.RESULTS)(watch)
    app.command(rich_help_panel=args.RESULTS)(files)
    app.command(rich_help_panel=args.RESULTS)(download)
    app.command("open", rich_help_panel=args.RESULTS)(open_file)


def watch(
    ctx: typer.Context,
    job_ids: args.JobIds = None,
    every: args.AllJobs = False,
    out: args.Out = None,
    as_json: args.AsJson = False,
) -> None:
    """Follow jobs until they have ended. Ctrl-C stops watching; the jobs continue.

    With several jobs the exit code is that of the first one that did not succeed. A terminal that
    can show pictures (iTerm2, WezTerm, kitty, Ghostty) shows those of the job.

    Example: comfyline watch last --out pictures

    Example: comfyline watch --all
    """
    if bool(job_ids) == every:
        raise typer.BadParameter("give either job ids or --all")
    with connected(ctx, as_json) as client:
        jobs = unfinished(client) if every else []
        found = job_ids_of(client, job_ids or (job.job_id for job in jobs))
        if not found:
            return hint("No jobs are waiting or running.")
        raise typer.Exit(follow_and_save(client, found, out, as_json, requests_of(jobs)))


def files(ctx: typer.Context, job_id: args.JobId, as_json: args.AsJson = False) -> None:
    """List all files of an ended job: number, name, size and type; with --json also the URLs.

    Example: comfyline files last
    """
    with connected(ctx, as_json) as client:
        for page in client.artifacts(job_id_of(client, job_id)):
            for artifact in page.artifacts:
                show(artifact, as_json, view.file_line)


def download(
    ctx: typer.Context, job_id: args.JobId, out: args.Directory, as_json: args.AsJson = False
) -> None:
    """Save the files of a job that has succeeded. Files that are there are not fetched again.

    Example: comfyline download last --out pictures
    """
    with connected(ctx, as_json) as client:
        save(client, job_id_of(client, job_id), out, as_json)


def open_file(ctx: typer.Context, job_id: args.JobId, number: args.Number = 0) -> None:
    """Open a file of an ended job in the browser, and print its URL.

    The URL works without a key for some minutes: treat it as a secret.

    Example: comfyline open last
    """
    with connected(ctx) as client:
        url = _web_address(_url_to_show(client, job_id_of(client, job_id), number))
    say(Console(), url)
    if not webbrowser.open(url):
        hint("No browser was found. Open the URL yourself.")


def _url_to_show(client: Comfyline, job_id: str, number: int) -> str:
    try:
        return client.artifact_url(job_id, number, inline=True).url
    except InvalidRequest:  # browsers cannot show this type, and save the file
        return client.artifact_url(job_id, number).url


def _web_address(url: str) -> str:
    """The URL, unless it would make the browser do something else than read from the web."""
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname or not url.isprintable():
        raise DownloadFailed("the file's URL is no web address")
    return url
