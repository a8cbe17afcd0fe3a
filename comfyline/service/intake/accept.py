"""Accept a job: take its slot, store its request, put the job by one conditional write, send its
ticket.

take ──> check uploads ──> put_request ──> add ─────────> send ──> 202
  │        │                  │             │               └─ lost: the sweeper sends the ticket
  │        │                  │             │                  when it is due
  │        │                  │             └─ the acceptance: a failure before it leaves only items
  │        │                  │                that are removed by themselves, a failure after it
  │        │                  │                leaves a job that will run
  │        │                  └─ the items are named after job and fingerprint, so they need no
  │        │                     transaction
  │        └─ reads files' metadata, so a post that is refused for a limit does not come this far
  └─ each post takes a slot of its own, and gives it up if another post has put the job; an owner
     without a cap needs none
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from comfyline.contract.ids import UploadId
from comfyline.service.access.slots import Allowance, AllowanceStore, Slot
from comfyline.service.clock import Clock
from comfyline.service.errors import (
    ComfylineError,
    Forbidden,
    IdempotencyKeyReused,
    RequestRefused,
    RequestTooLarge,
    Unavailable,
)
from comfyline.service.files.uploads import UploadStore
from comfyline.service.graphs.engine_nodes import EngineNodes
from comfyline.service.graphs.uploads import Reference
from comfyline.service.graphs.validate import unknown_nodes
from comfyline.service.intake.admit import Admission
from comfyline.service.intake.check_uploads import check_uploads, upload_references
from comfyline.service.intake.submission import Accepted, Caller, JobInput
from comfyline.service.jobs.change import current_or_not_found
from comfyline.service.jobs.job import Job
from comfyline.service.jobs.lifecycle import submitted
from comfyline.service.jobs.read import expire_if_overdue
from comfyline.service.jobs.settle import Settle
from comfyline.service.jobs.store import Conflict, JobStore
from comfyline.service.queue.tickets import JobQueue

# A replay that comes within this time does not send the ticket again: the first one is on its way.
TICKET_IN_FLIGHT = timedelta(seconds=2)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """Accepts each job once, and answers a repeated post with the job that already exists."""

    store: JobStore
    queue: JobQueue
    uploads: UploadStore
    admission: Admission
    allowances: AllowanceStore
    settle: Settle
    clock: Clock
    nodes: Callable[[], EngineNodes] = unknown_nodes

    def accept(self, job: Job, asked: JobInput, caller: Caller) -> Accepted:
        """Accept `job`, or replay the job that has its id.

        Raises:
            InvalidRequest, RequestTooLarge, TooManyJobs, TooManyRequests: nothing was accepted.
            Forbidden: the token has made its number of jobs; nothing was accepted.
            IdempotencyKeyReused: the job that has the id was made from another request.
            Unavailable: the store is out of reach; the post may be repeated.
        """
        earlier, limits = None, caller.limits
        try:
            named = upload_references(asked.graph)
            if limits.max_active_jobs is not None and (earlier := self._earlier(job)) is not None:
                limits = replace(limits, max_active_jobs=None)  # a replay needs no slot
            taken = self.admission.take(job, limits)
            if earlier is None:
                self._check(job, named, asked.placed, caller.allowance, taken)
        except RequestRefused:
            # A replay is answered although a new job would be refused now.
            if (earlier := self._earlier(job)) is None:
                raise
            return Accepted(self._replayed(earlier, job), replayed=True)
        if earlier is not None:
            return Accepted(self._replayed(earlier, job), replayed=True)
        job = submitted(replace(job, has_slot=taken is not None))
        existing, is_new = self._put(job, asked, taken)
        if is_new:
            self._send(existing)
            return Accepted(existing, replayed=False)
        self.admission.hand_over(taken, existing)
        return Accepted(self._replayed(existing, job), replayed=True)

    def _check(
        self,
        job: Job,
        named: Sequence[Reference],
        placed: Collection[UploadId],
        allowance: Allowance | None,
        taken: Slot | None,
    ) -> None:
        try:
            check_uploads(job, named, uploads=self.uploads, nodes=self.nodes, placed=placed)
            if allowance is not None and not self.allowances.use(allowance, job.id):
                raise Forbidden(
                    f"The token has made its {allowance.max_jobs} jobs. Ask for a new token."
                )
        except ComfylineError:
            self.admission.give_back(job.owner, taken)
            raise

    def _earlier(self, job: Job) -> Job | None:
        earlier = self.store.get(job.id)
        is_over = earlier is None or earlier.is_past_retention(job.queued_at)
        return None if is_over else earlier

    def _put(self, job: Job, asked: JobInput, taken: Slot | None) -> tuple[Job, bool]:
        """The job that has the id now, as stored, and whether this post has put it there."""
        try:
            self.store.put_request(job, asked.params, asked.graph, asked.extra_pnginfo)
        except RequestTooLarge:
            self.admission.give_back(job.owner, taken)
            raise
        existing = self.store.add(job)
        if existing is None:
            return job, True
        if existing.is_past_retention(job.queued_at):
            return self._take_over(existing, job)
        return existing, False

    def _take_over(self, expired: Job, job: Job) -> tuple[Job, bool]:
        """Put `job` in the place of a record past its retention, unless another post was faster.

        The new job continues the old one's version and attempt, so that a worker or a ticket of the
        old job stays fenced off.
        """
        if expired.settle_pending:  # nothing has settled it since its end, and its record goes now
            expired = self.settle(expired)
        heir = submitted(replace(job, attempt=expired.attempt, version=expired.version + 1))
        try:
            self.store.replace(expired, heir)
        except Conflict as conflict:
            return current_or_not_found(job, conflict), False
        return heir, True

    def _replayed(self, existing: Job, job: Job) -> Job:
        """The existing job in its current state. Sends another ticket if the first may be lost."""
        if existing.fingerprint != job.fingerprint:
            raise IdempotencyKeyReused(
                "This Idempotency-Key was used for a request with another body. Use a new key for "
                "a new request.",
                existing.id,
            )
        existing = expire_if_overdue(self.clock(), self.store, existing)
        age = job.queued_at - existing.queued_at
        if _is_unclaimed(existing) and age > TICKET_IN_FLIGHT:
            self._send(existing)
        return existing

    def _send(self, job: Job) -> None:
        # The job is accepted already, so a queue that is out of reach is no error of the post: the
        # sweeper sends the ticket when the job is due.
        try:
            self.queue.send(job.id, job.owner, job.priority)
        except Unavailable:
            _log.warning("ticket not sent", extra={"action": "ticket_not_sent", "job_id": job.id})


def _is_unclaimed(job: Job) -> bool:
    """No worker has claimed the job and it has not ended.

    `attempt` does not tell, because a job that took over a record continues its count.
    """
    return len(job.history) == 1
