"""The jobs table: check each row and each item beside a row alone, and note both in the index."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from comfyline.adapters.aws.attributes import Item, read_time, ttl_of
from comfyline.adapters.aws.fleet.presence import KEPT, WORKERS, presence_of
from comfyline.adapters.aws.graphs import ENGINE
from comfyline.adapters.aws.jobs import codec, results, siblings
from comfyline.contract.ids import JOB_ID_PATTERN
from comfyline.operate.audit.findings import Finding, Fix
from comfyline.operate.audit.index import Index
from comfyline.operate.audit.source import SWEEP_LAG, Source, Table, Terms, micro, name_of, ttl_in
from comfyline.service.errors import Unreadable
from comfyline.service.graphs.engine_nodes import EngineNodes
from comfyline.service.graphs.graph import fingerprint
from comfyline.service.graphs.uploads import references
from comfyline.service.jobs.due import SETTLE_DELAY
from comfyline.service.jobs.invariants import CLOCK_SKEW, faults_at, row_faults
from comfyline.service.jobs.job import Job, JobParams
from comfyline.service.jobs.result import Artifact
from comfyline.service.jobs.store import LIVE_SHARDS, quarantine
from comfyline.service.live.sockets import CONNECTION_LIFETIME
from comfyline.service.storage_names import JOBS_PREFIX

WATCH_MARGIN = timedelta(minutes=31)  # `watched_until` is rounded up to half an hour
LONGEST_REPORT = timedelta(minutes=5)  # a worker's report is valid for a minute

_REQUEST_ITEM = re.compile(r"(job#request|job#params|input|pnginfo)#(.+)")
_WITH_GRAPH, _WITH_PARAMS = ("job#request", "input"), ("job#request", "job#params")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_REVISIONS = "~wanted"
# Mended by the event that is due by the clock, because its write also sets the due time and shard.
_SWEPT = ("due", "no due time", "has due_shard", "lacks due_shard")


class Jobs:
    """Checks the jobs table."""

    def __init__(self, source: Source, index: Index, terms: Terms) -> None:
        self._source, self._index, self._terms = source, index, terms

    def findings(self) -> Iterator[Finding]:
        """Read the table, fill the index, and check every item alone."""
        for item in self._source.items(Table.JOBS):
            try:
                yield from self._of_item(item)
            except Exception as error:  # noqa: BLE001 one damaged item must not hide the others
                yield Finding("item", name_of(item), f"cannot be read: {error!r:.200}")

    def _of_item(self, item: Item) -> Iterator[Finding]:
        if item["pk"] == WORKERS:
            return self._of_report(item)
        if item["pk"] == ENGINE:
            return self._of_engine(item)
        if item["sk"]["S"] == siblings.ROW:
            return self._of_row(item)
        return self._of_sibling(item)

    # --- rows -------------------------------------------------------------------------------------

    def _of_row(self, item: Item) -> Iterator[Finding]:
        job_id = item["pk"]["S"]
        if not re.fullmatch(JOB_ID_PATTERN, job_id):
            yield Finding("row", job_id, "has an id that no job can have")
        try:
            job = codec.job_of(item)
        except Unreadable as error:
            self._index.add("jobs", id=job_id)
            shard = item.get("due_shard", {}).get("S", "")
            is_aside = shard.startswith("unreadable-")
            kind = "quarantine" if is_aside else "row"
            yield Finding(kind, name_of(item), f"cannot be read: {error!s:.200}")
            return
        self._note(job)
        now = self._terms.clock()
        faults = [
            *row_faults(job),
            *faults_at(job, now, lease=self._terms.lease),
            *_index_faults(job, item),
        ]
        for fault in faults:
            yield self._row_finding("row", job, fault)
        yield from self._of_due(job, now)
        if item.get("due_shard") == {"S": quarantine()}:
            text = "is in quarantine, but can be read: comfyline admin quarantine release"
            yield Finding("quarantine", name_of(item), text, fix=Fix.SWEEP, target=(job.id,))

    def _of_due(self, job: Job, now: datetime) -> Iterator[Finding]:
        end = job.finished_at if job.settle_pending else None
        if end is not None and end + SETTLE_DELAY + SWEEP_LAG < self._terms.began_at:
            text = "has ended, but is neither counted nor freed"
            yield Finding("settlement", job.id, text, fix=Fix.SWEEP, target=(job.id,))
        if job.due_at is not None and job.due_at + SWEEP_LAG < self._terms.began_at:
            yield self._row_finding("overdue", job, f"was due at {job.due_at:%c} and was not swept")
        latest = now + CONNECTION_LIFETIME + WATCH_MARGIN
        marks = (job.watched_until, job.owner_watched_until)
        if any(mark is not None and mark > latest for mark in marks):
            yield self._row_finding("row", job, "is watched for longer than a socket lives")

    def _row_finding(self, kind: str, job: Job, fault: str) -> Finding:
        is_swept = kind == "overdue" or fault.startswith(_SWEPT)
        if not is_swept or (job.is_settled and not job.tidy_pending):
            return Finding(kind, job.id, fault)
        return Finding(kind, job.id, fault, fix=Fix.SWEEP, target=(job.id,))

    def _note(self, job: Job) -> None:
        ends_at = job.start_deadline + job.retention + siblings.ORPHAN_MARGIN
        self._index.add(
            "jobs",
            id=job.id,
            queued_at=micro(job.queued_at),
            owner=job.owner,
            user=job.user,
            status=job.status.value,
            is_live=not job.status.is_terminal,
            finished_at=micro(job.finished_at),
            expires_at=micro(job.expires_at),
            attempt=job.attempt,
            fingerprint=job.fingerprint,
            has_slot=job.has_slot,
            is_settled=job.is_settled,
            lists_files=job.lists_files,
            has_pnginfo=job.options.has_pnginfo,
            stored=job.stored,
            items_end=micro(ends_at),
            gpu_seconds=job.gpu_seconds,
            has_run=job.started_at is not None,
        )

    # --- the items beside a row -------------------------------------------------------------------

    def _of_sibling(self, item: Item) -> Iterator[Finding]:
        name = item["sk"]["S"]
        if self._terms.is_never_removed(ttl_in(item)):
            text = "has no TTL, or DynamoDB should have deleted it"
            yield Finding("item", name_of(item), text)
        if request := _REQUEST_ITEM.fullmatch(name):
            self._note_request(item, request[1], request[2])
        elif attempt := results.attempt_of(name):
            incarnation, _, number = attempt.partition("-")
            yield from self._of_list(item, int(incarnation, 16), int(number))
        elif attempt := results.thumbnails_attempt_of(name):
            incarnation, _, number = attempt.partition("-")
            place = {"incarnation": int(incarnation, 16), "attempt": int(number)}
            self._index.add("siblings", **_place(item), **place, listed=0)
        else:
            yield Finding("item", name_of(item), "has a name that no part of the service uses")

    def _note_request(self, item: Item, kind: str, fingerprint_: str) -> None:
        job_id = item["pk"]["S"]
        has_graph, has_params = kind in _WITH_GRAPH, kind in _WITH_PARAMS
        # Noted before its body is read, so that a damaged item is no missing one.
        self._index.add(
            "siblings",
            **_place(item),
            fingerprint=fingerprint_,
            has_graph=has_graph,
            has_params=has_params,
        )
        body = siblings.unpack(item["body"]["B"])
        if has_params:
            retry_of = siblings.known_fields(JobParams, body).retry_of
            if retry_of is not None:
                own = fingerprint({"retry_of": retry_of})
                self._index.add("retries", job_id=job_id, retry_of=retry_of, fingerprint=own)
        if has_graph:
            graph: Any = body["graph"] if has_params else body
            for reference in references(graph):
                self._index.add("needed", upload=reference.upload_id, job_id=job_id)

    def _of_list(self, item: Item, incarnation: int, attempt: int) -> Iterator[Finding]:
        made, total = list[Artifact](), None
        try:
            made += results.artifacts_of(item)
            about = siblings.unpack(item["about"]["B"]) if "about" in item else {}
            total = about.get("artifacts_total")
        finally:  # a damaged list is no missing one
            self._index.add(
                "siblings",
                **_place(item),
                incarnation=incarnation,
                attempt=attempt,
                listed=len(made),
                total=total,
            )
        of_attempt = {"job_id": item["pk"]["S"], "incarnation": incarnation, "attempt": attempt}
        prefix = f"{JOBS_PREFIX}{of_attempt['job_id']}/{incarnation:x}-{attempt}/"
        for artifact in made:
            self._index.add(
                "listed",
                **of_attempt,
                key=artifact.key,
                bytes=artifact.bytes,
                sha256=artifact.sha256,
            )
            if not artifact.key.startswith(prefix):
                text = f"is in the list of {name_of(item)}, but it is not a file of that attempt"
                yield Finding("artifact", artifact.key, text)
            if artifact.bytes < 0 or not _SHA256.fullmatch(artifact.sha256):
                yield Finding("artifact", artifact.key, "is listed with a wrong size or SHA-256")

    # --- what workers report ----------------------------------------------------------------------

    def _of_report(self, item: Item) -> Iterator[Finding]:
        name = item["sk"]["S"]
        if name == _REVISIONS:
            if not item["revisions"]["SS"]:
                yield Finding("presence", name, "names no revision that workers may have")
            return
        try:
            report = presence_of(item)
        except Exception as error:  # noqa: BLE001 whatever it holds
            text = f"cannot be read: {error!r:.200}"
            yield Finding("presence", name, text, fix=Fix.DELETE_REPORT, target=(name,))
            return
        if report.expires_at > self._terms.clock() + LONGEST_REPORT + CLOCK_SKEW:
            yield Finding("presence", name, "reports the worker as active for too long")
        if item.get("ttl") != ttl_of(report.expires_at + KEPT):
            yield Finding("presence", name, "has another TTL than its report")
        elif self._terms.is_never_removed(ttl_in(item)):
            yield Finding("presence", name, "should have been deleted by its TTL")
        if min(report.running_jobs, report.held_jobs, report.waited.total_seconds()) < 0:
            yield Finding("presence", name, "reports a negative count")
        if not name.startswith("wrk_"):
            yield Finding("presence", name, "has an id that no worker can have")

    def _of_engine(self, item: Item) -> Iterator[Finding]:
        EngineNodes.from_json(siblings.unpack(item["body"]["B"]))
        return iter(())


def _place(item: Item) -> dict[str, Any]:
    return {
        "job_id": item["pk"]["S"],
        "name": item["sk"]["S"],
        "queued_at": micro(read_time(item["queued_at"])),
        "ends_at": micro(ttl_in(item)),
    }


def _index_faults(job: Job, item: Item) -> Iterator[str]:
    """Attributes of indexes, and the TTL, that differ from what the codec would write."""
    wanted = codec.index_attributes(job)
    for name in ("listed_at", "due_shard", "ttl"):
        found = item.get(name)
        if found == wanted.get(name) or (name == "due_shard" and _is_other_shard(job, found)):
            continue
        yield f"lacks {name}" if found is None else f"has {name} {found}, which is wrong"


def _is_other_shard(job: Job, found: Any) -> bool:
    """The row is in quarantine, or earlier code has ended it and left it among live jobs."""
    if found is None:
        return False
    is_older = job.is_settled and job.due_at == job.expires_at
    shard = found["S"]
    return shard.startswith("unreadable-") or (is_older and shard in map(str, range(LIVE_SHARDS)))
