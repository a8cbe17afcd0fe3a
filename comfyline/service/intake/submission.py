"""Commands of the intake as plain values. Each API makes them of its requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from comfyline.contract.ids import OwnerId, Principal, UploadId, UserId, principal_of
from comfyline.service.access.slots import Allowance, Limits
from comfyline.service.graphs.compile import Work
from comfyline.service.graphs.graph import Graph
from comfyline.service.graphs.text_to_image import TextToImage
from comfyline.service.jobs.job import Job, JobOptions, JobParams
from comfyline.service.queue.lanes import Priority


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A request for one job. None in a field leaves the choice to the service."""

    work: Work
    fingerprint: str  # of the request as it was sent: equal requests have equal fingerprints
    priority: Priority = Priority.NORMAL
    start_deadline: timedelta | None = None
    execution_timeout: timedelta | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    reuse: bool | None = None
    only_known_classes: bool = False  # refuse a graph with classes that the engine does not have
    options: JobOptions = field(default_factory=JobOptions)
    placed: frozenset[UploadId] = (
        frozenset()
    )  # uploads that the caller has put where a file belongs

    @property
    def may_reuse(self) -> bool:
        """Whether an earlier job of the same request may be the answer.

        By default only where the result would be the same: in the parameter form with a seed.
        """
        if self.reuse is not None:
            return self.reuse
        return isinstance(self.work, TextToImage) and self.work.seed is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who posts, its limits, and the key that is the same when the post is repeated.

    `owner_watched_until`: until when a client follows all jobs of the owner.
    """

    owner: OwnerId
    user: UserId | None = None  # None: the owner itself
    limits: Limits = field(default_factory=Limits)
    allowance: Allowance | None = None  # of the token that posts, if it has one
    idempotency_key: str | None = None
    request_id: str | None = None
    owner_watched_until: datetime | None = None

    @property
    def principal(self) -> Principal:
        """In whose name the job is made."""
        return principal_of(self.owner, self.user)


@dataclass(frozen=True, slots=True)
class JobInput:
    """The parts of an accepted request that readers and the worker need; they are stored."""

    params: JobParams
    graph: Graph
    extra_pnginfo: Mapping[str, Any] = field(default_factory=dict)  # for ComfyUI's pictures
    placed: frozenset[UploadId] = frozenset()  # see Submission; not stored


@dataclass(frozen=True, slots=True)
class Accepted:
    """The job that answers a post. `replayed`: an earlier post had made it."""

    job: Job
    replayed: bool
