"""What an operator sees of failed jobs: groups of failures of one kind."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from comfyline.contract.limits import MAX_FAILURE_GROUPS, MAX_FAILURE_SAMPLES
from comfyline.contract.v1.common import Count, Response


class FailureSample(Response):
    """One failed job of a group."""

    job_id: str = Field(description="The job's id. Its record may be removed already.")
    owner: str = Field(description="The owner of the job.")


class FailureGroupView(Response):
    """Failures with the same error type, node class and engine."""

    type: str = Field(
        description="Stable name of the kind of error. `other`: kinds beyond those of which the "
        "service keeps groups, because a day has a bounded number of them."
    )
    node_type: str | None = Field(
        default=None, description="Class of the node that failed; null if no node failed."
    )
    engine_version: str | None = Field(
        default=None,
        description="The version of the worker's image and lock; null if no worker has told it.",
    )
    jobs: Count = Field(description="How many jobs have failed in this way.")
    first_at: datetime = Field(description="About when the first of them failed.")
    last_at: datetime = Field(description="About when the last of them failed.")
    samples: list[FailureSample] = Field(
        max_length=MAX_FAILURE_SAMPLES, description="Some of the jobs, most of them late ones."
    )


class FailureList(Response):
    """The failures of the last days, in groups; the most frequent group comes first."""

    days: Count = Field(description="The number of days (UTC), of which today is the last.")
    jobs: Count = Field(description="How many jobs have failed in these days.")
    groups_total: Count = Field(description="How many groups there are.")
    groups: list[FailureGroupView] = Field(
        max_length=MAX_FAILURE_GROUPS, description="The most frequent groups."
    )
