"""The events of a job as server-sent events: what a client is told in one answer.

A client stops at a terminal status, so the outputs come before it. Every answer is complete by
itself, because a client that connects again has no cursor. So outputs are told at the end only, or
each answer would repeat them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from comfyline.api.comfy_v2.views import Views, progress_view
from comfyline.service.jobs.job import Job
from comfyline.service.jobs.result import Artifact


def event_stream(
    job: Job, artifacts: Sequence[Artifact], queue_position: int | None, views: Views
) -> str:
    """The frames that show the job as it is."""
    return "".join(_frames(job, artifacts, queue_position, views))


def _frames(
    job: Job, artifacts: Sequence[Artifact], queue_position: int | None, views: Views
) -> Iterator[str]:
    status = {"status": job.shown_status, "queue_position": queue_position}
    if not job.status.is_terminal:
        yield _frame("status", json.dumps(status))
    if progress := progress_view(job):
        yield _frame("progress", progress.model_dump_json())
    for output in views.outputs(job, artifacts):
        yield _frame("output", output.model_dump_json())
    if job.status.is_terminal:
        yield _frame("status", json.dumps(status))


def _frame(name: str, data: str) -> str:
    return f"event: {name}\ndata: {data}\n\n"
