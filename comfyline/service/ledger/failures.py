"""Failed jobs in groups: by the type of the error, the class of the node, and the engine.

The texts of a group come from workflows and nodes, so one caller could make any number of groups.
Therefore a day has a bounded number of them: each owner is in one of BUCKETS, each bucket may bring
KINDS_PER_BUCKET kinds a day, and further kinds are counted as OTHER. So an owner that makes up
kinds hides only those of the owners in its bucket.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from comfyline.contract.limits import MAX_FAILURE_DAYS, MAX_FAILURE_SAMPLES
from comfyline.service.jobs.job import Job, Status
from comfyline.service.texts import shortened

if TYPE_CHECKING:
    from comfyline.contract.ids import JobId, OwnerId

BUCKETS, KINDS_PER_BUCKET = 16, 32
MAX_SAMPLES = MAX_FAILURE_SAMPLES
MAX_KIND_TEXT = 100  # characters
DAYS = MAX_FAILURE_DAYS  # for which groups are kept


class Kind(NamedTuple):
    """What the failures of a group have in common."""

    type: str
    node_type: str = ""  # empty: no node failed
    engine: str = ""  # the version of the image and the lock; empty: no worker has told

    @property
    def id(self) -> str:
        """A short text that differs for every kind."""
        text = "\0".join(self).encode(errors="surrogatepass")
        return hashlib.sha256(text).hexdigest()[:16]


OTHER = Kind("other")


class Sample(NamedTuple):
    """One job of a group."""

    job_id: JobId
    owner: OwnerId


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """The failures of one kind."""

    kind: Kind
    jobs: int
    first_at: datetime
    last_at: datetime
    samples: tuple[Sample, ...]  # at most MAX_SAMPLES


def kind_of(job: Job) -> Kind | None:
    """The kind of the job's failure; None if it has not failed."""
    if job.status is not Status.FAILED:
        return None
    error = job.error
    if error is None:
        return Kind("unknown")
    texts = (error.type, error.node_type, error.engine_version)
    return Kind(*(shortened(text or "", MAX_KIND_TEXT) for text in texts))


def day_of(job: Job) -> date:
    """The day (UTC) of the job's end."""
    return (job.finished_at or job.queued_at).astimezone(UTC).date()


def bucket_of(owner: OwnerId) -> int:
    """The owner's bucket, 0 to BUCKETS - 1."""
    return zlib.crc32(owner.encode()) % BUCKETS


def sample_slot(job_id: JobId) -> int:
    """Which of the MAX_SAMPLES places of its group the job takes; a later job replaces it."""
    return zlib.crc32(job_id.encode()) % MAX_SAMPLES


def days_until(now: datetime, count: int) -> list[date]:
    """The last `count` days, newest first."""
    today = now.astimezone(UTC).date()
    return [today - timedelta(days=n) for n in range(count)]


def merged(groups: Iterable[FailureGroup]) -> list[FailureGroup]:
    """One group for each kind, the most frequent first; the newest samples are kept."""
    by_kind: dict[Kind, list[FailureGroup]] = {}
    for group in groups:
        by_kind.setdefault(group.kind, []).append(group)
    found = map(_merged, by_kind.values())
    return sorted(found, key=lambda group: (-group.jobs, group.kind))


def _merged(parts: list[FailureGroup]) -> FailureGroup:
    newest = sorted(parts, key=lambda part: part.last_at, reverse=True)
    samples = dict.fromkeys(sample for part in newest for sample in part.samples)
    return FailureGroup(
        kind=parts[0].kind,
        jobs=sum(part.jobs for part in parts),
        first_at=min(part.first_at for part in parts),
        last_at=newest[0].last_at,
        samples=tuple(samples)[:MAX_SAMPLES],
    )
