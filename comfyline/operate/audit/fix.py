"""Mend what an audit has found, where the lifecycle can decide.

Rule: a fix is an event of the lifecycle, a step of the settlement, or the removal of a thing that
nothing refers to. It reads the job once more, and does nothing if the finding no longer holds. What
would need a guess stays for the operator.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from comfyline.adapters.aws.attributes import time_of
from comfyline.adapters.aws.fleet.presence import WORKERS
from comfyline.adapters.aws.jobs.siblings import key as item_key
from comfyline.contract.ids import ConnectionId, JobId, OwnerId
from comfyline.operate.audit.findings import Finding, Fix
from comfyline.operate.audit.source import micro, time_at
from comfyline.service.access.semaphore import Semaphore
from comfyline.service.access.slots import Slot
from comfyline.service.clock import Clock
from comfyline.service.errors import ComfylineError, Unavailable, Unreadable
from comfyline.service.intake.admit import Admission
from comfyline.service.jobs.job import Job
from comfyline.service.jobs.round import BROKEN
from comfyline.service.jobs.store import JobStore
from comfyline.service.jobs.sweep import Sweeper
from comfyline.service.ledger.store import Ledger
from comfyline.service.live.sockets import ConnectionStore

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

REPAIR_TIME = timedelta(minutes=1)  # for one job, mostly for the removal of its files
_NOT_DONE = frozenset({BROKEN, Unavailable.__name__, Unreadable.__name__, "OutOfTime"})

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixer:
    """Mends findings that have a fix."""

    jobs: JobStore
    sweeper: Sweeper
    admission: Admission
    ledger: Ledger
    connections: ConnectionStore
    is_open: Callable[[ConnectionId], bool]
    semaphore: Callable[[str], Semaphore]
    dynamodb: DynamoDBClient
    jobs_table: str
    s3: S3Client
    bucket: str
    clock: Clock

    def fix(self, found: Iterable[Finding]) -> list[Finding]:
        """Mend what can be mended, one thing after the other; returns what was mended."""
        by_target = {(each.fix, each.target): each for each in found if each.fix is not None}
        return [finding for finding in by_target.values() if self._try(finding)]

    def _try(self, finding: Finding) -> bool:
        assert finding.fix is not None
        try:
            return self._fixes[finding.fix](*finding.target)
        except ComfylineError:  # the others are mended
            extra = {"action": "fix_failed", "subject": finding.subject}
            _log.warning("not mended", exc_info=True, extra=extra)
            return False

    @property
    def _fixes(self) -> Mapping[Fix, Callable[..., bool]]:
        return {
            Fix.SWEEP: self._sweep,
            Fix.COUNT: self._count,
            Fix.DELETE_ITEM: self._delete_item,
            Fix.DELETE_FILE: self._delete_file,
            Fix.DELETE_REPORT: self._delete_report,
            Fix.FREE_SLOT: self._free_slot,
            Fix.CLOSE_SOCKET: self._close_socket,
            Fix.UNSUBSCRIBE: self._unsubscribe,
            Fix.LEAVE_PLACE: self._leave_place,
        }

    # --- events and steps of the settlement -------------------------------------------------------

    def _sweep(self, job_id: str) -> bool:
        job = self.jobs.get(JobId(job_id))
        if job is None:
            return False
        done = self.sweeper.repair([job], self.clock() + REPAIR_TIME)
        return bool(done.keys() - _NOT_DONE)

    def _count(self, job_id: str) -> bool:
        job = self.jobs.get(JobId(job_id))
        return job is not None and job.status.is_terminal and bool(self.ledger.count([job]))

    def _free_slot(self, owner: str, job_id: str, queued_at: str) -> bool:
        slot = Slot(JobId(job_id), time_at(int(queued_at)))
        return self.admission.drop_void(OwnerId(owner), slot)

    # --- removals ---------------------------------------------------------------------------------

    def _delete_item(self, job_id: str, name: str, queued_at: str) -> bool:
        # A post that makes a job of this id writes its items again, with its own `queued_at`.
        if not self._is_of_no_job(self.jobs.get(JobId(job_id)), queued_at):
            return False
        try:
            self.dynamodb.delete_item(
                TableName=self.jobs_table,
                Key=item_key(JobId(job_id), name),
                ConditionExpression="queued_at = :seen",
                ExpressionAttributeValues={":seen": time_of(time_at(int(queued_at)))},
            )
        except self.dynamodb.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def _delete_file(self, key: str, job_id: str, incarnation: str) -> bool:
        job = self.jobs.get(JobId(job_id))
        # The list of an ended job does not change any more.
        is_live = job is not None and not job.status.is_terminal
        if is_live and not self._is_of_no_job(job, incarnation):
            return False
        self.s3.delete_object(Bucket=self.bucket, Key=key)
        return True

    def _delete_report(self, worker_id: str) -> bool:
        key: Any = {"pk": WORKERS, "sk": {"S": worker_id}}
        self.dynamodb.delete_item(TableName=self.jobs_table, Key=key)
        return True

    def _close_socket(self, socket: str) -> bool:
        if self.is_open(ConnectionId(socket)):
            return False
        self.connections.close(ConnectionId(socket))
        return True

    def _unsubscribe(self, socket: str, job_id: str) -> bool:
        self.connections.unsubscribe(ConnectionId(socket), JobId(job_id))
        return True

    def _leave_place(self, name: str, place: str) -> bool:
        self.semaphore(name).leave(place)
        return True

    def _is_of_no_job(self, job: Job | None, queued_at: str) -> bool:
        """Whether there is no job of this id, or only one that was posted later."""
        posted = micro(job.queued_at) if job else None
        return posted is None or posted > int(queued_at)
