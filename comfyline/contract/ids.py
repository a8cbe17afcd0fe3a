"""Identifiers: prefixed, fixed-length, URL-safe.

A job id is either derived from what was meant (an idempotency key, a request to reuse, a retry), so
that the same intent always names the same job and one conditional write decides who made it, or
random and sortable by time.
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

# Crockford's base 32 in lower case: no i, l, o, u, and it sorts as the number does.
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_ID_LENGTH = 26  # 130 bits: a 48-bit time in ms and 80 random bits, or the head of a SHA-256

JOB_ID_PATTERN = rf"^job_[{_ALPHABET}]{{{_ID_LENGTH}}}$"
UPLOAD_ID_PATTERN = rf"^upl_[{_ALPHABET}]{{{_ID_LENGTH}}}$"


def derived_job_id(owner: OwnerId, idempotency_key: str) -> JobId:
    """The one id of what `owner` means by `idempotency_key`; two owners never share an id."""
    return _digested("", owner, idempotency_key)


def reused_job_id(owner: OwnerId, fingerprint: str, n: int) -> JobId:
    """The id of the n-th job that `owner` made of a request that may be answered by an old job."""
    return _digested("reuse:", owner, f"{n}:{fingerprint}")


def retry_job_id(owner: OwnerId, job_id: JobId, version: int) -> JobId:
    """The id of the one retry of a job in the state of that version."""
    return _digested("retry:", owner, f"{version}:{job_id}")


def _digested(kind: str, owner: OwnerId, text: str) -> JobId:
    # The owner's length comes before it: ("ab", "c") and ("a", "bc") must not meet. A kind begins
    # with a letter and a length does not, so ids of two kinds do not meet either.
    digest = hashlib.sha256(f"{kind}{len(owner)}:{owner}:{text}".encode()).digest()
    return JobId("job_" + _base32(int.from_bytes(digest, "big") >> (256 - 5 * _ID_LENGTH)))


def random_job_id(now: datetime) -> JobId:
    """A fresh id; ids made later (to the millisecond) sort later."""
    return JobId("job_" + _sortable(now))


def random_upload_id(now: datetime) -> UploadId:
    """A fresh id; ids made later (to the millisecond) sort later."""
    return UploadId("upl_" + _sortable(now))


def random_worker_id() -> WorkerId:
    """A fresh id for one worker process."""
    return WorkerId("wrk_" + _base32(secrets.randbits(5 * _ID_LENGTH)))


def _sortable(now: datetime) -> str:
    milliseconds = (now - _EPOCH) // timedelta(milliseconds=1)  # exact, as no float is
    return _base32((milliseconds << 80) | secrets.randbits(80))


def _base32(number: int) -> str:
    return "".join(_ALPHABET[(number >> (5 * i)) & 31] for i in reversed(range(_ID_LENGTH)))
