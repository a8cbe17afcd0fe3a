"""Make a job's messages from its state as read over HTTP, while no socket delivers them.

They have the order and the numbering of the service's own messages. They show the present state
only, not the changes before it: `GET /jobs/{id}/events` gives the messages that were missed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from comfyline.contract.v1 import common
from comfyline.contract.v1.responses import JobView
from comfyline.contract.v1.socket import (
    ArtifactMessage,
    DoneMessage,
    JobMessage,
    ProgressMessage,
    StatusMessage,
)


def messages_of(view: JobView, *, state_is_new: bool) -> list[JobMessage]:
    """A message with the job's state or progress; for an ended job also its files and `done`."""
    is_progress = view.status == "running" and not state_is_new
    messages: list[JobMessage] = [_progress(view) if is_progress else _status(view)]
    if view.status in get_args(common.EndStatus):
        messages.extend(_ending(view))
    return messages


def _status(view: JobView) -> StatusMessage:
    return StatusMessage(
        job_id=view.job_id,
        version=view.version,
        status=view.status,
        progress=view.progress,
        attempt=view.attempt,
        queue_position=view.queue_position,
    )


def _progress(view: JobView) -> ProgressMessage:
    at = {"job_id": view.job_id, "version": view.version, "progress": view.progress}
    return ProgressMessage.model_validate({**view.progress_detail.model_dump(), **at})


def _ending(view: JobView) -> Iterator[JobMessage]:
    at: dict[str, Any] = {"job_id": view.job_id, "version": view.version}
    artifacts = view.result.artifacts if view.result else []
    total = max(view.result.artifacts_total, len(artifacts)) if view.result else 0
    for number, artifact in enumerate(artifacts):
        place = {"part": number + 1, "number": number, "attempt": view.attempt}
        yield ArtifactMessage.model_validate({**artifact.model_dump(), **at, **place})
    end = {"status": view.status, "result": view.result, "error": view.error}
    yield DoneMessage.model_validate({**at, "part": total + 1, **end})
