"""What the shell offers while a command is typed: the ids of jobs.

Shells execute parts of what completion prints, so only plain characters of a prompt get there.
Completion prints no error, because it would land in the middle of the command line.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from typing import Any

from comfyline.client.blocking.client import Comfyline
from comfyline.client.errors import ComfylineClientError
from comfyline.client.retries import Retries
from comfyline.client.screen import request_of
from comfyline.contract.ids import JOB_ID_PATTERN
from comfyline.contract.v1.responses import JobView

SECONDS = 2.0  # a person waits for it with a key pressed
NEWEST = 50
MAX_TEXT = 40
_RUNNING = ("queued", "running", "canceling")
# The states of the jobs that a command is of use for; all, where a command is missing.
_STATES = {
    "cancel": _RUNNING,
    "watch": _RUNNING,
    "retry": ("failed", "canceled", "expired"),
    "download": ("succeeded",),
    "open": ("succeeded", "failed"),
}


def job_ids(ctx: Any, incomplete: str) -> Iterator[tuple[str, str]]:
    """The newest jobs that begin with the text and that the command is of use for."""
    states = _STATES.get(ctx.command.name or "")
    for job in _newest(ctx):
        is_of_use = states is None or job.status in states
        if is_of_use and job.job_id.startswith(incomplete):
            yield job.job_id, _plain(f"{job.status} {request_of(job)}")


def _newest(ctx: Any) -> list[JobView]:
    profile = ctx.find_root().params.get("profile")
    try:
        with warnings.catch_warnings(action="ignore"):
            client = ctx.obj or Comfyline(
                profile=profile, timeout=SECONDS, retries=Retries(tries=1)
            )
        with client:
            jobs = next(iter(client.list(limit=NEWEST))).jobs
    except ComfylineClientError:
        return []
    return [job for job in jobs if re.fullmatch(JOB_ID_PATTERN, job.job_id)]


def _plain(text: str) -> str:
    return re.sub(r"[^\w ,.-]+", " ", text, flags=re.ASCII)[:MAX_TEXT]
