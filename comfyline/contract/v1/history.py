"""The body of `GET /api/v1/jobs/{job_id}/events`."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from comfyline.contract.v1.common import Response
from comfyline.contract.v1.socket import StatusMessage


class EventView(Response):
    """One change of a job's state."""

    version: int
    at: datetime
    event: str
    status: Literal["queued", "running", "succeeded", "failed", "canceled", "expired"]
    attempt: int


class EventList(Response):
    """A job's changes of state, oldest first; of very many the oldest may be missing.

    `messages` holds the WebSocket's `status` message of each change in `events`, so that a client
    that polls gets the same messages as one that listens.
    """

    job_id: str
    events: list[EventView]
    messages: list[StatusMessage] = Field(default_factory=list)
