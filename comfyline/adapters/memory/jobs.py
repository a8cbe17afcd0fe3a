"""Jobs in memory. One lock makes every write as atomic as a conditional write of the real store.

Values of callers are copied as JSON, so that a reader gets the same as from a real store.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from threading import RLock
from typing import Any

from comfyline.adapters.memory.job_conditions import guard, is_saved, may_be_removed
from comfyline.contract.ids import JobId, OwnerId
from comfyline.contract.limits import MAX_ARTIFACTS_PER_PAGE
from comfyline.service.errors import SEND_FILES, LeaseLost, RequestTooLarge
from comfyline.service.graphs.graph import Graph, canonical_json, faithful_json
from comfyline.service.jobs.change import Change
from comfyline.service.jobs.events import Renewed, Watched
from comfyline.service.jobs.job import Job, JobParams, JobRecord, Status
from comfyline.service.jobs.lifecycle import from_states
from comfyline.service.jobs.result import Artifact, JobResult
from comfyline.service.jobs.store import (
    MAX_DUE_SEEN,
    Conflict,
    ListPosition,
    LivePosition,
    UnreadableRow,
    Work,
    due_shard,
)
from comfyline.service.jobs.turns import in_turns

MAX_BODY_BYTES = 399 * 1024  # compressed; the limit of the real store


class InMemoryJobStore:
    """`JobStore` in memory. `on_change` receives every change of a row, as the stream would."""

    def __init__(self, on_change: Callable[[Change], object] = lambda _change: None) -> None:
        self._on_change = on_change
        self._lock = RLock()
        self._jobs: dict[JobId, Job] = {}
        self._requests: dict[tuple[JobId, str], _Request] = {}
        self._results: dict[str, _Result] = {}
        self._thumbnails: dict[str, tuple[int, ...]] = {}  # by attempt

    # --- a job's beginning ------------------------------------------------------------------------

    def put_request(
        self,
        job: Job,
        params: JobParams,
        graph: Graph,
        extra_pnginfo: Mapping[str, Any] | None = None,
    ) -> None:
        """See JobStore."""
        body = zlib.compress(faithful_json(graph))
        pnginfo = zlib.compress(faithful_json(extra_pnginfo or {}))
        if max(len(body), len(pnginfo)) > MAX_BODY_BYTES:
            raise RequestTooLarge(
                f"A request has at most {MAX_BODY_BYTES} bytes, compressed. {SEND_FILES}"
            )
        copied = _copied(params)
        with self._lock:
            self._requests[job.id, job.fingerprint] = _Request(job.queued_at, copied, body, pnginfo)

    def add(self, job: Job) -> Job | None:
        """See JobStore."""
        with self._lock:
            existing = self._jobs.get(job.id)
            if existing is None:
                self._write(job)
        return None if existing is None or existing.is_of_same_post(job) else existing

    def replace(self, expired: Job, job: Job) -> None:
        """See JobStore."""
        with self._lock:
            current = self._jobs.get(job.id)
            is_expired = current is None or may_be_removed(current, expired)
            if is_expired:
                self._write(job)
            elif current is None or not current.is_of_same_post(job):
                raise Conflict(current)

    # --- a job's changes --------------------------------------------------------------------------

    def save(self, before: Job, after: Job) -> Job:
        """See JobStore."""
        names = [f.name for f in fields(Job) if getattr(before, f.name) != getattr(after, f.name)]
        changes = {name: getattr(after, name) for name in names}
        with self._lock:
            current = self._jobs.get(before.id)
            if current is not None and guard(current) == guard(before):
                return self._write(replace(current, **changes))
        if current is not None and is_saved(current, after, changes):
            return current
        raise Conflict(current)

    def renew(self, job: Job, until: datetime) -> Job:
        """See JobStore."""
        with self._lock:
            current = self._jobs.get(job.id)
            if (
                current is None
                or current.lease is None
                or current.attempt_path != job.attempt_path
                or current.status not in from_states(Renewed)
            ):
                raise LeaseLost(f"attempt {job.attempt} no longer holds {job.id}")
            lease = replace(current.lease, expires_at=until)
            return self._write(replace(current, lease=lease))

    def watch(self, job_id: JobId, until: datetime, *, by_owner: bool = False) -> Job | None:
        """See JobStore."""
        with self._lock:
            job = self._jobs.get(job_id)
            if job is None or job.status not in from_states(Watched):
                return job
            if by_owner:
                later = max(until, job.owner_watched_until or until)
                return self._write(replace(job, owner_watched_until=later))
            later = max(until, job.watched_until or until)
            return self._write(replace(job, watched_until=later))

    def _write(self, job: Job) -> Job:
        before = self._jobs.get(job.id)
        self._jobs[job.id] = job
        if job != before:  # a stream has no record of a write that changes nothing
            self._on_change(Change(before, job))
        return job

    def list_stored(self, job: Job, artifacts: Sequence[Artifact], *, known: int) -> None:
        """See JobStore."""
        with self._lock:
            listed = self._result(job).artifacts[:known]
        self.put_result(job, JobResult(artifacts=(*listed, *artifacts[known:])))

    def put_result(self, job: Job, result: JobResult) -> None:
        """See JobStore."""
        copied = replace(result, values=_copy(result.values))
        with self._lock:
            self._results[job.attempt_path] = _Result(job.id, job.queued_at, copied)

    def put_thumbnails(self, job: Job, numbers: Sequence[int]) -> None:
        """See JobStore."""
        with self._lock:
            self._thumbnails[job.attempt_path] = tuple(sorted(numbers))

    # --- reading ----------------------------------------------------------------------------------

    def get(self, job_id: JobId) -> Job | None:
        """See JobStore."""
        with self._lock:
            return self._jobs.get(job_id)

    def get_many(self, job_ids: Sequence[JobId]) -> list[Job]:
        """See JobStore."""
        with self._lock:
            return [self._jobs[job_id] for job_id in dict.fromkeys(job_ids) if job_id in self._jobs]

    def read(self, job_id: JobId) -> JobRecord | None:
        """See JobStore."""
        with self._lock:
            job = self._jobs.get(job_id)
            if job is None:
                return None
            record = self._record(job)
            if not job.lists_files:
                return record
            result = self._result(job)
            shown = replace(result, artifacts=result.artifacts[:MAX_ARTIFACTS_PER_PAGE])
            return replace(record, result=shown, artifacts_total=len(result.artifacts))

    def artifacts(self, job: Job, numbers: range) -> tuple[Artifact, ...]:
        """See JobStore."""
        with self._lock:
            return self._result(job).artifacts[numbers.start : numbers.stop]

    def _result(self, job: Job) -> JobResult:
        held = self._results.get(job.attempt_path)
        return held.result if held else JobResult()

    def work(self, job_id: JobId) -> Work | None:
        """See JobStore."""
        job = self.get(job_id)
        if job is None:
            return None
        try:
            return Work(job, self.graph(job), self.extra_pnginfo(job))
        except LookupError:
            return Work(job)

    def graph(self, job: Job) -> Graph:
        """See JobStore."""
        graph: Graph = json.loads(zlib.decompress(self._request(job, "graph").graph))
        return graph

    def extra_pnginfo(self, job: Job) -> Mapping[str, Any]:
        """See JobStore."""
        if not job.options.has_pnginfo:
            return {}
        request = self._request(job, "extra_pnginfo")
        pnginfo: Mapping[str, Any] = json.loads(zlib.decompress(request.pnginfo))
        return pnginfo

    def _request(self, job: Job, wanted: str) -> _Request:
        with self._lock:
            request = self._requests.get((job.id, job.fingerprint))
        if request is None:
            raise LookupError(f"{job.id} has no {wanted}")
        return request

    def page(
        self, owner: OwnerId, *, status: Status | None, limit: int, after: ListPosition | None
    ) -> list[JobRecord]:
        """See JobStore."""
        with self._lock:
            listed = [
                job
                for job in self._jobs.values()
                if job.owner == owner
                and status in (None, job.status)
                and (after is None or _place(job) < (after.queued_at, after.job_id))
            ]
            newest = sorted(listed, key=_place, reverse=True)[:limit]
            return [self._record(job) for job in newest]

    def due(self, now: datetime, limit: int, shard: str) -> list[Job]:
        """See JobStore."""
        with self._lock:
            jobs = [job for job in self._jobs.values() if job.due_at and job.due_at <= now]
            due = [(job.due_at, job.id) for job in jobs if due_shard(job) == shard]
            seen = [self._jobs[job_id] for _, job_id in sorted(due)[:MAX_DUE_SEEN]]
        return in_turns(seen, lambda job: job.owner)[:limit] if len(seen) > limit else seen

    def live(self, limit: int, after: LivePosition | None = None) -> list[tuple[LivePosition, Job]]:
        """See JobStore."""
        return [each for each in self._live() if after is None or each[0] > after][:limit]

    def live_last_due(self, limit: int) -> tuple[list[Job], bool]:
        """See JobStore."""
        live = self._live()[::-1]
        return [job for _, job in live[:limit]], len(live) < limit

    def _live(self) -> list[tuple[LivePosition, Job]]:
        with self._lock:
            jobs = [job for job in self._jobs.values() if not job.status.is_terminal]
        placed = [(LivePosition(job.due_at, job.id), job) for job in jobs if job.due_at]
        return sorted(placed, key=lambda each: each[0])

    def set_aside(self, _row: UnreadableRow) -> None:
        """See JobStore. Every job in memory can be read, so there is nothing to do."""

    def _record(self, job: Job) -> JobRecord:
        request = self._requests.get((job.id, job.fingerprint))
        params = _copied(request.params) if request else JobParams(params={})
        thumbnails = self._thumbnails.get(job.attempt_path, ()) if job.lists_files else ()
        return JobRecord(job, params, thumbnails=thumbnails)

    # --- a job's removal --------------------------------------------------------------------------

    def expire(self, now: datetime) -> None:
        """Remove the jobs past their retention, as the TTL of the real store does."""
        with self._lock:
            settled = [job for job in self._jobs.values() if job.is_settled]
        for job in (job for job in settled if job.is_past_retention(now)):
            self.delete(job)

    def delete(self, job: Job) -> None:
        """See JobStore."""
        with self._lock:
            current = self._jobs.get(job.id)
            if current is not None and not may_be_removed(current, job):
                raise Conflict(current)
            self._jobs.pop(job.id, None)
            end = job.expires_at or job.queued_at + timedelta.resolution
            self._requests = {
                key: request
                for key, request in self._requests.items()
                if key[0] != job.id or request.queued_at >= end
            }
            for path, held in list(self._results.items()):
                if held.job_id == job.id and held.queued_at < end:
                    del self._results[path]
                    self._thumbnails.pop(path, None)


@dataclass(frozen=True, slots=True)
class _Request:
    queued_at: datetime
    params: JobParams
    graph: bytes
    pnginfo: bytes


@dataclass(frozen=True, slots=True)
class _Result:
    job_id: JobId
    queued_at: datetime
    result: JobResult


def _copied(params: JobParams) -> JobParams:
    return replace(params, params=_copy(params.params), metadata=_copy(params.metadata))


def _copy(value: Any) -> Any:
    return json.loads(canonical_json(value))


def _place(job: Job) -> tuple[datetime, JobId]:
    return job.queued_at, job.id
