"""The body of `GET /api/v1/jobs/{job_id}/events`."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from comfyline.contract.v1.common import Count, Response
from comfyline.contract.v1.socket import StatusMessage


class EventView(Response):
    """One change of a job's state."""

    version: Count = Field(
        description="Number of the job's state; each change that a client can see raises it."
    )
    at: datetime = Field(description="When the change happened, in UTC.")
    event: str = Field(description="Stable name of what happened, for example `started`.")
    status: Literal["queued", "running", "succeeded", "failed", "canceled", "expired"] = Field(
        description="The state after the change."
    )
    attempt: Count = Field(description="How many times a worker had taken the job by then.")


class EventList(Response):
    """A job's changes of state."""

    job_id: str = Field(description="The job's id.")
    events: list[EventView] = Field(
        description="The changes, oldest first. The first of very many may be missing."
    )
    messages: list[StatusMessage] = Field(
        default_factory=list,
        description="The `status` message that the WebSocket sends for each change in `events`, so "
        "that a client that polls gets the same messages as one that listens.",
    )
