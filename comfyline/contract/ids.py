"""Identifiers: prefixed, fixed-length, URL-safe.

There are two kinds of job ids. A derived id is a hash of the caller's intent: an idempotency key, a
reused request, or a retry. The same intent always has the same id, so one conditional write decides
which request makes the job. A random id begins with the time, so later ids sort later.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime, timedelta
from typing import NewType

JobId = NewType("JobId", str)
OwnerId = NewType("OwnerId", str)
KeyId = NewType("KeyId", str)
WorkerId = NewType("WorkerId", str)
UploadId = NewType("UploadId", str)
ConnectionId = NewType("ConnectionId", str)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# Crockford's base 32 in lower case: it has no i, l, o or u, and texts sort as their numbers do.
JOB_ID_CHARACTERS = "0123456789abcdefghjkmnpqrstvwxyz"
_ID_LENGTH = 26  # 130 bits: a 48-bit time in ms and 80 random bits, or the first bits of a SHA-256

JOB_ID_PATTERN = rf"^job_[{JOB_ID_CHARACTERS}]{{{_ID_LENGTH}}}$"
UPLOAD_ID_PATTERN = rf"^upl_[{JOB_ID_CHARACTERS}]{{{_ID_LENGTH}}}$"


def derived_job_id(owner: OwnerId, idempotency_key: str) -> JobId:
    """The id of the owner's job for this idempotency key; two owners never share an id."""
    return _digested("", owner, idempotency_key)


def reused_job_id(owner: OwnerId, fingerprint: str, n: int) -> JobId:
    """The id of the n-th job that `owner` makes from a request that an older job may answer."""
    return _digested("reuse:", owner, f"{n}:{fingerprint}")


def retry_job_id(owner: OwnerId, job_id: JobId, version: int) -> JobId:
    """The id of the only retry of a job that is in the state of that version."""
    return _digested("retry:", owner, f"{version}:{job_id}")


def _digested(kind: str, owner: OwnerId, text: str) -> JobId:
    # The owner's length is hashed too, so that ("ab", "c") and ("a", "bc") have different ids. A
    # kind begins with a letter and a length does not, so two kinds never have the same id either.
    digest = hashlib.sha256(f"{kind}{len(owner)}:{owner}:{text}".encode()).digest()
    return JobId("job_" + _base32(int.from_bytes(digest, "big") >> (256 - 5 * _ID_LENGTH)))


def random_job_id(now: datetime) -> JobId:
    """A new id; an id that is made in a later millisecond sorts later."""
    return JobId("job_" + _sortable(now))


def random_upload_id(now: datetime) -> UploadId:
    """A new id; an id that is made in a later millisecond sorts later."""
    return UploadId("upl_" + _sortable(now))


def random_worker_id() -> WorkerId:
    """A new id for one worker process."""
    return WorkerId("wrk_" + _base32(secrets.randbits(5 * _ID_LENGTH)))


def _sortable(now: datetime) -> str:
    milliseconds = (now - _EPOCH) // timedelta(milliseconds=1)  # exact, unlike a float
    return _base32((milliseconds << 80) | secrets.randbits(80))


def _base32(number: int) -> str:
    return "".join(JOB_ID_CHARACTERS[(number >> (5 * i)) & 31] for i in reversed(range(_ID_LENGTH)))
