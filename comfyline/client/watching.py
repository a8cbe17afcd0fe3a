"""Following jobs in a terminal: shown to their end, their files saved, the exit code.

stdout carries results only (progress, paths, JSON lines); hints go to stderr.
"""

from __future__ import annotations

import shlex
from itertools import islice
from pathlib import Path

from rich.console import Console

from comfyline.client import view
from comfyline.client.errors import DownloadFailed
from comfyline.client.http import Comfyline, Job
from comfyline.client.progress import following
from comfyline.contract.limits import MAX_SUBSCRIPTIONS
from comfyline.contract.v1 import common
from comfyline.contract.v1.socket import DoneMessage

INTERRUPTED = 130  # what a shell reports for SIGINT
EXIT_CODES: dict[common.EndStatus, int] = {
    "succeeded": 0,
    "failed": 1,
    "canceled": 3,
    "expired": 4,
}
MAX_PAGE = 100
MAX_WATCHED = MAX_SUBSCRIPTIONS  # of one socket


def unfinished(client: Comfyline) -> list[str]:
    """The newest of the caller's jobs that have not ended, as many as one socket follows."""
    states: tuple[common.Status, ...] = ("running", "queued")
    pages = (page for status in states for page in client.list(status, MAX_PAGE))
    found = list(islice((job.job_id for page in pages for job in page.jobs), MAX_WATCHED + 1))
    if len(found) > MAX_WATCHED:
        hint(f"There are more than {MAX_WATCHED}: only so many are shown.")
    return found[:MAX_WATCHED]


def watched(client: Comfyline, job_ids: list[str], out: Path | None, as_json: bool) -> int:
    """Show the jobs to their end and save their files; the exit code.

    Raises:
        ComfylineClientError: they cannot be followed, or a file cannot be saved.
    """
    try:
        ends = _shown(client, job_ids, as_json)
        for job_id, done in ends.items():
            if done.status == "succeeded" and out is not None:
                _save(client.job(job_id), out if len(ends) == 1 else out / job_id, as_json)
    except KeyboardInterrupt:
        _say_how_to_go_on(job_ids, out)
        return INTERRUPTED
    for job_id, done in ends.items():
        if not as_json:
            view.ending(Console(stderr=True), job_id, done)
    succeeded = [job_id for job_id, done in ends.items() if done.status == "succeeded"]
    if succeeded and out is None and not as_json:
        hint(f"Save the files: comfyline watch {' '.join(succeeded[:3])} --out DIR")
    return next((code for job_id in job_ids if (code := EXIT_CODES[ends[job_id].status])), 0)


def _say_how_to_go_on(job_ids: list[str], out: Path | None) -> None:
    # Hints only: the jobs are not ours to stop.
    saving = f" --out {shlex.quote(str(out))}" if out else ""
    what = "The job goes on" if len(job_ids) == 1 else "The jobs go on"
    which = " ".join(job_ids[:3])
    hint(f"\n{what}. Follow again: comfyline watch {which}{saving}")
    hint(f"Stop it: comfyline cancel {job_ids[0]}")


def _shown(client: Comfyline, job_ids: list[str], as_json: bool) -> dict[str, DoneMessage]:
    """How each job has ended."""
    ends = {}
    with following(Console(), job_ids, as_json=as_json) as shown:
        for message in client.events(job_ids):
            shown.show(message)
            if isinstance(message, DoneMessage):
                ends[message.job_id] = message
    return ends


def _save(job: Job, out: Path, as_json: bool) -> None:
    try:
        paths = job.download(out)
    except OSError as error:
        raise DownloadFailed(f"cannot save the files: {error}") from error
    for path in paths:
        if as_json:
            saved = {"type": "saved", "job_id": job.id, "path": str(path)}
            view.json_line(Console(), saved)
        else:
            view.say(Console(), str(path))


def hint(text: str) -> None:
    """Say what to do next, beside the results."""
    view.say(Console(stderr=True), text, "dim")
