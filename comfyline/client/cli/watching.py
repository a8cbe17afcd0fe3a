"""Follows jobs in a terminal, saves their files, and chooses the exit code.

stdout carries results only (progress, paths, JSON lines); hints go to stderr.
"""

from __future__ import annotations

import shlex
from itertools import islice
from pathlib import Path

from rich.console import Console

from comfyline.client.blocking.client import Comfyline
from comfyline.client.cli import pictures, view
from comfyline.client.cli.session import MAX_PAGE, MAX_WATCHED, hint
from comfyline.client.errors import DownloadFailed
from comfyline.client.progress import display
from comfyline.client.screen import json_line, request_of, say
from comfyline.contract.v1 import common
from comfyline.contract.v1.responses import JobView
from comfyline.contract.v1.socket import DoneMessage

INTERRUPTED = 130  # what shells report for SIGINT
EXIT_CODES: dict[common.EndStatus, int] = {"succeeded": 0, "failed": 1, "canceled": 3, "expired": 4}


def unfinished(client: Comfyline) -> list[JobView]:
    """The newest of the caller's jobs that have not ended, as many as one socket can follow."""
    states: tuple[common.Status, ...] = ("running", "queued")
    pages = (page for status in states for page in client.list(status, MAX_PAGE))
    jobs = {job.job_id: job for page in pages for job in page.jobs}
    found = list(islice(jobs.values(), MAX_WATCHED + 1))
    if len(found) > MAX_WATCHED:
        hint(f"You have more than {MAX_WATCHED} unfinished jobs: only {MAX_WATCHED} are shown.")
    return found[:MAX_WATCHED]


def follow_and_save(
    client: Comfyline,
    job_ids: list[str],
    out: Path | None,
    as_json: bool,
    requests: dict[str, str] | None = None,
) -> int:
    """Show the jobs until they have ended, save the files of those that succeeded; the exit code.

    Raises:
        ComfylineClientError: the jobs cannot be followed, or a file cannot be saved.
    """
    try:
        ends = _shown(client, job_ids, as_json, requests or {})
    except KeyboardInterrupt:
        _hint_after_interrupt(job_ids, out)
        return INTERRUPTED
    try:
        _keep(client, ends, out, as_json)
    except KeyboardInterrupt:
        hint("")  # after the ^C that the terminal shows
        hint(f"The download was interrupted. Continue it: {_watch_command(job_ids, out)}")
        return INTERRUPTED
    if not as_json:
        _show_ends(ends, out)
    return next((code for job_id in job_ids if (code := EXIT_CODES[ends[job_id].status])), 0)


def _keep(client: Comfyline, ends: dict[str, DoneMessage], out: Path | None, as_json: bool) -> None:
    if out is not None:
        for job_id in _succeeded(ends):
            save(client, job_id, out if len(ends) == 1 else out / job_id, as_json)
    elif not as_json and len(_with_files(ends)) == 1:
        pictures.show_of_job(Console(), client, *_with_files(ends))


def _succeeded(ends: dict[str, DoneMessage]) -> list[str]:
    return [job_id for job_id, done in ends.items() if done.status == "succeeded"]


def _with_files(ends: dict[str, DoneMessage]) -> list[str]:
    return [job_id for job_id in _succeeded(ends) if _has_files(ends[job_id])]


def _has_files(done: DoneMessage) -> bool:
    return done.result is not None and bool(done.result.artifacts or done.result.artifacts_total)


def _show_ends(ends: dict[str, DoneMessage], out: Path | None) -> None:
    for job_id, done in ends.items():
        view.ending(Console(stderr=True), job_id, done)
    if (with_files := _with_files(ends)) and out is None:
        hint(f"Save the files: comfyline download {with_files[0]} --out DIR")


def _hint_after_interrupt(job_ids: list[str], out: Path | None) -> None:
    # Ctrl-C does not cancel the jobs, because their results may still be wanted.
    jobs = "The job continues" if len(job_ids) == 1 else "The jobs continue"
    hint("")  # after the ^C that the terminal shows
    hint(f"{jobs}. Follow again: {_watch_command(job_ids, out)}")
    cancel = "Cancel it" if len(job_ids) == 1 else "Cancel one"
    hint(f"{cancel}: comfyline cancel {job_ids[0]}")


def _watch_command(job_ids: list[str], out: Path | None) -> str:
    saving = f" --out {shlex.quote(str(out))}" if out else ""
    return f"comfyline watch {' '.join(job_ids[:3])}{saving}"


def _shown(
    client: Comfyline, job_ids: list[str], as_json: bool, requests: dict[str, str]
) -> dict[str, DoneMessage]:
    """Show the jobs' messages until all jobs have ended; returns the last message of each job."""
    ends = {}
    with display(Console(), job_ids, as_json=as_json, requests=requests) as show:
        for message in client.events(job_ids):
            show(message)
            if isinstance(message, DoneMessage):
                ends[message.job_id] = message
    return ends


def requests_of(jobs: list[JobView]) -> dict[str, str]:
    """What each job was asked for, by its id."""
    return {job.job_id: request_of(job) for job in jobs}


def save(client: Comfyline, job_id: str, out: Path, as_json: bool) -> None:
    """Save the job's files in `out` and print their paths, and the pictures where that is possible.

    Raises:
        DownloadFailed: the job has not succeeded, or a file cannot be saved.
    """
    try:
        paths = client.job(job_id).download(out)
    except OSError as error:
        raise DownloadFailed(f"cannot save the files: {error}") from error
    for path in paths:
        if as_json:
            json_line(Console(), {"type": "saved", "job_id": job_id, "path": str(path)})
        else:
            say(Console(), str(path))
    if not as_json:
        pictures.show_files(Console(), paths)
