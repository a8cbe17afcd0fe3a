"""Turn a submission into a job, or retry a job that has ended."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import chain

from comfyline.contract.ids import (
    JobId,
    derived_job_id,
    random_job_id,
    retry_job_id,
    reused_job_id,
)
from comfyline.service.clock import Clock
from comfyline.service.errors import ComfylineError, JobNotFound, JobNotRetryable
from comfyline.service.graphs.catalogue import Catalogue
from comfyline.service.graphs.compile import Bounds, check_again, compiled
from comfyline.service.graphs.engine_nodes import EngineNodes
from comfyline.service.graphs.graph import fingerprint
from comfyline.service.graphs.text_to_image import SizeLimits
from comfyline.service.graphs.validate import check_classes, unknown_nodes
from comfyline.service.intake.accept import Acceptance
from comfyline.service.intake.submission import Accepted, Caller, JobInput, Submission
from comfyline.service.jobs.job import Job, JobParams, Status
from comfyline.service.jobs.read import read_job
from comfyline.service.jobs.store import JobStore
from comfyline.service.metrics import Metric, Metrics

# After this many failed jobs of one reusable request, each further post makes a new job with a
# random id, which no other post reuses.
MAX_REUSES = 32
RETRYABLE = frozenset({Status.FAILED, Status.CANCELED, Status.EXPIRED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """The values that a deployment uses where a request gives none."""

    checkpoint: str
    start_deadline: timedelta
    execution_timeout: timedelta
    retention: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitter:
    """Accepts posts: each is accepted once per owner and idempotency key."""

    acceptance: Acceptance
    store: JobStore
    metrics: Metrics
    clock: Clock
    defaults: Defaults
    catalogue: Catalogue = field(default_factory=Catalogue)
    nodes: Callable[[], EngineNodes] = unknown_nodes

    def submit(self, asked: Submission, caller: Caller) -> Accepted:
        """A new job, or an earlier one of the same request.

        Raises:
            InvalidRequest, RequestTooLarge, TooManyJobs, TooManyRequests, Forbidden: nothing was
                accepted.
            IdempotencyKeyReused: the key names a job that was made from another request.
            Unavailable: the store cannot be reached; the caller may repeat the post.
        """
        now = self.clock()
        ids = _candidate_ids(asked, caller, now)
        first = next(ids)
        made = compiled(asked.work, self._bounds(caller), seed_from=first)
        if asked.only_known_classes:
            check_classes(made.graph, self.nodes())
        params = JobParams(params=made.params, metadata=asked.metadata)
        asked_for = JobInput(params, made.graph, made.extra_pnginfo, asked.placed)
        job = self._new_job(first, asked, caller, now)
        for job_id in chain([first], ids):
            candidate = replace(job, id=job_id)
            accepted = self.acceptance.accept(candidate, asked_for, caller)
            if accepted.job.status not in RETRYABLE:
                break
        return self._recorded(accepted)

    def earlier(self, caller: Caller) -> Job | None:
        """The job that the caller's idempotency key has made; None if there is none."""
        if caller.idempotency_key is None:
            return None
        job = self.store.get(derived_job_id(caller.principal, caller.idempotency_key))
        return None if job is None or job.is_past_retention(self.clock()) else job

    def retry(self, job_id: JobId, caller: Caller) -> Accepted:
        """A new job from the input of one that failed, was canceled or expired.

        The input is checked as if it were posted now. Without an idempotency key there is one
        retry of each job in each state.

        Raises:
            JobNotFound: unknown, past its retention, or not visible to the caller.
            JobNotRetryable: it has not ended, or it succeeded.
            As submit.
        """
        record = read_job(job_id, caller.principal, store=self.store, clock=self.clock)
        old = record.job
        if old.status not in RETRYABLE:
            raise JobNotRetryable(
                f"The job is {old.status}. Only a job that failed, was canceled or expired can be "
                "retried."
            )
        try:
            graph, pnginfo = self.store.graph(old), self.store.extra_pnginfo(old)
        except LookupError as error:
            raise JobNotFound(job_id) from error
        check_again(record.params.params, graph, self._bounds(caller))
        job = self._retry_of(old, caller)
        again = JobInput(replace(record.params, retry_of=old.id), graph, pnginfo)
        return self._recorded(self.acceptance.accept(job, again, caller))

    @contextmanager
    def refusals_recorded(self) -> Iterator[None]:
        """Record the error that ends the block, if one does.

        A post can be refused before there is a submission: while its request is parsed.
        """
        try:
            yield
        except ComfylineError as error:
            self.metrics.record(Metric.JOBS_REFUSED, code=error.code)
            raise

    def _bounds(self, caller: Caller) -> Bounds:
        return Bounds(
            checkpoint=self.defaults.checkpoint,
            catalogue=self.catalogue,
            sizes=SizeLimits(caller.limits.max_pixels, caller.limits.max_batch_size),
            nodes=self.nodes,
        )

    def _recorded(self, accepted: Accepted) -> Accepted:
        self.metrics.record(Metric.JOBS_REPLAYED if accepted.replayed else Metric.JOBS_ACCEPTED)
        return accepted

    def _new_job(self, job_id: JobId, asked: Submission, caller: Caller, now: datetime) -> Job:
        defaults = self.defaults
        return Job(
            id=job_id,
            owner=caller.owner,
            user=caller.user,
            fingerprint=asked.fingerprint,
            priority=asked.priority,
            queued_at=now,
            start_deadline=now + (asked.start_deadline or defaults.start_deadline),
            execution_timeout=asked.execution_timeout or defaults.execution_timeout,
            retention=defaults.retention,
            request_id=caller.request_id,
            call_id=secrets.token_hex(4),
            owner_watched_until=caller.owner_watched_until,
            options=asked.options,
        )

    def _retry_of(self, old: Job, caller: Caller) -> Job:
        now, key = self.clock(), caller.idempotency_key
        only = retry_job_id(old.owner, old.id, old.version)
        return Job(
            id=derived_job_id(caller.principal, key) if key else only,
            owner=old.owner,
            user=old.user,
            fingerprint=fingerprint({"retry_of": old.id}),
            priority=old.priority,
            queued_at=now,
            start_deadline=now + (old.start_deadline - old.queued_at),
            execution_timeout=old.execution_timeout,
            retention=self.defaults.retention,
            request_id=caller.request_id,
            call_id=secrets.token_hex(4),
            owner_watched_until=caller.owner_watched_until,
            options=old.options,
        )


def _candidate_ids(asked: Submission, caller: Caller, now: datetime) -> Iterator[JobId]:
    """The ids to try in this order, until one is free or has a job that answers the request.

    The first id depends on the request only, unless it is random and used once. A seed that is
    drawn from it is therefore the same whenever the post is repeated.
    """
    if caller.idempotency_key is not None:
        yield derived_job_id(caller.principal, caller.idempotency_key)
        return
    if asked.may_reuse:
        for n in range(MAX_REUSES):
            yield reused_job_id(caller.principal, asked.fingerprint, n)
    yield random_job_id(now)
