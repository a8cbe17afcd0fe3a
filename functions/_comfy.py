"""What the functions of Comfy API v2 share."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from comfyline.api.comfy_v2.views import MAX_OUTPUTS, Views
from comfyline.contract.comfy_v2 import jobs as models
from comfyline.contract.ids import JobId
from comfyline.service.access.budgets import UPLOAD_BYTES
from comfyline.service.patience import patiently
from comfyline.service.settings import PublicAddress
from functions._request import Request
from functions._wiring import Wiring

# Comfy's clients wait for 30 s and take one failed read for the end of the job. The rest of the
# function's 29 s is for the last try.
PATIENCE = timedelta(seconds=15)
# Of a function that also waits for the job.
BRIEF_PATIENCE = timedelta(seconds=4)

A = TypeVar("A")


def views(wiring: Wiring) -> Views:
    """Makes answers as of now."""
    address = wiring.aws.settings(PublicAddress).public_url
    return Views(wiring.aws.artifacts, wiring.clock(), address)


def retried(read: Callable[[], A], wiring: Wiring, patience: timedelta = PATIENCE) -> A:
    """What `read` returns, even if the store is out of reach for some seconds."""
    return patiently(read, patience, clock=wiring.clock, sleep=wiring.sleep)


def job_view(job_id: JobId, request: Request, wiring: Wiring) -> models.Job:
    """The whole job, as its owner reads it now.

    Raises:
        JobNotFound: the job does not exist, is past its retention, or has another owner.
    """
    record, artifacts = retried(
        lambda: wiring.read_artifacts(job_id, request.principal, range(MAX_OUTPUTS)), wiring
    )
    position = wiring.queue_position(record.job)
    return views(wiring).job(record, artifacts, position)


def count_bytes(request: Request, wiring: Wiring) -> Callable[[int], None]:
    """Counts bytes that are stored for the owner; raises TooManyRequests beyond its budget."""
    budgets = wiring.access.budgets
    return lambda size: budgets.spend(request.principal, UPLOAD_BYTES, request.limits, size)
