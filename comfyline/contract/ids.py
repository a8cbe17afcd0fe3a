"""Identifiers: prefixed, fixed-length, URL-safe.

There are two kinds of job ids. A derived id is a hash of the caller's intent: an idempotency key, a
reused request, or a retry. The same intent always has the same id, so one conditional write decides
which request makes the job. A random id begins with the time, so later ids sort later.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NewType

JobId = NewType("JobId", str)
OwnerId = NewType("OwnerId", str)
UserId = NewType("UserId", str)
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
# A name that the owner gives to one of its users: visible ASCII, such as an e-mail address.
USER_PATTERN = r"^[!-~]{1,128}$"


@dataclass(frozen=True, slots=True)
class User:
    """A user of an owner, who may see and touch only what was made in the name of this user."""

    owner: OwnerId
    id: UserId


# In whose name a call is made: an owner may see everything of its own, a user of it a part.
Principal = OwnerId | User


def principal_of(owner: OwnerId, user: UserId | None) -> Principal:
    """The user of the owner, or without a user the owner."""
    return owner if user is None else User(owner, user)


def owner_of(principal: Principal) -> OwnerId:
    """The owner, whose limits and usage count."""
    return principal.owner if isinstance(principal, User) else principal


def user_of(principal: Principal) -> UserId | None:
    """The user; None if the owner itself calls."""
    return principal.id if isinstance(principal, User) else None


def qualified(principal: Principal) -> str:
    """A text that differs for every owner and every user of one; an owner's is its id.

    The owner's length is part of a user's text, so that no two pairs have the same text. A colon is
    in no owner's id, so no owner has the text of a user.
    """
    if isinstance(principal, User):
        return f"user:{len(principal.owner)}:{principal.owner}:{principal.id}"
    return principal


def derived_job_id(caller: Principal, idempotency_key: str) -> JobId:
    """The id of the caller's job for this idempotency key.

    Two owners, or two users of one, never share an id.
    """
    return _digested("", qualified(caller), idempotency_key)


def reused_job_id(caller: Principal, fingerprint: str, n: int) -> JobId:
    """The id of the n-th job that `caller` makes from a request that an older job may answer."""
    return _digested("reuse:", qualified(caller), f"{n}:{fingerprint}")


def retry_job_id(owner: OwnerId, job_id: JobId, version: int) -> JobId:
    """The id of the only retry of a job that is in the state of that version."""
    return _digested("retry:", owner, f"{version}:{job_id}")


def _digested(kind: str, owner: str, text: str) -> JobId:
    return JobId("job_" + _hashed(kind, owner, text))


def _hashed(kind: str, owner: str, text: str) -> str:
    # The owner's length is hashed too, so that ("ab", "c") and ("a", "bc") have different ids. A
    # kind begins with a letter and a length does not, so two kinds never have the same id either.
    digest = hashlib.sha256(f"{kind}{len(owner)}:{owner}:{text}".encode()).digest()
    return _base32(int.from_bytes(digest, "big") >> (256 - 5 * _ID_LENGTH))


def random_job_id(now: datetime) -> JobId:
    """A new id; an id that is made in a later millisecond sorts later."""
    return JobId("job_" + _sortable(now))


def random_upload_id(now: datetime) -> UploadId:
    """A new id; an id that is made in a later millisecond sorts later."""
    return UploadId("upl_" + _sortable(now))


def asset_id(caller: Principal, hash_: str, file_path: str) -> UploadId:
    """The id of the caller's file with these bytes under that name."""
    return UploadId("upl_" + _hashed("asset:", qualified(caller), f"{hash_}:{file_path}"))


def output_copy_id(caller: Principal, key: str) -> UploadId:
    """The id of the caller's upload that is a copy of the artifact at that key."""
    return UploadId("upl_" + _hashed("output:", qualified(caller), key))


def random_worker_id() -> WorkerId:
    """A new id for one worker process."""
    return WorkerId("wrk_" + _base32(secrets.randbits(5 * _ID_LENGTH)))


def _sortable(now: datetime) -> str:
    milliseconds = (now - _EPOCH) // timedelta(milliseconds=1)  # exact, unlike a float
    return _base32((milliseconds << 80) | secrets.randbits(80))


def _base32(number: int) -> str:
    return "".join(JOB_ID_CHARACTERS[(number >> (5 * i)) & 31] for i in reversed(range(_ID_LENGTH)))
