"""API keys: `cl_<id>_<secret>`. Only a hash of the secret is kept."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from datetime import datetime

from comfyline.domain.ids import KeyId, OwnerId
from comfyline.ports import ApiKey, Clock, KeyStore

SCOPES = frozenset({"jobs", "admin"})
_TOKEN = re.compile(r"cl_([0-9a-f]{16})_([0-9A-Za-z_-]{32,64})")


def authenticate(authorization: str | None, *, keys: KeyStore, clock: Clock) -> ApiKey | None:
    """The key behind an `Authorization: Bearer …` header, or None if it opens nothing.

    Unknown, wrong, disabled and expired keys are not told apart.
    """
    scheme, _, token = (authorization or "").partition(" ")
    match = _TOKEN.fullmatch(token.strip())
    if scheme.lower() != "bearer" or match is None:
        return None
    key = keys.get(KeyId(match[1]))
    if key is None or not hmac.compare_digest(_hash(match[2]), key.secret_sha256):
        return None
    return None if key.disabled or _is_over(key, clock()) else key


def create_key(
    owner: OwnerId,
    *,
    scopes: Iterable[str],
    expires_at: datetime | None,
    keys: KeyStore,
    clock: Clock,
) -> tuple[ApiKey, str]:
    """Store a new key; the token, which is told this once, beside it."""
    key_id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    key = ApiKey(
        id=KeyId(key_id),
        secret_sha256=_hash(secret),
        owner=owner,
        scopes=frozenset(scopes),
        created_at=clock(),
        expires_at=expires_at,
    )
    keys.put(key)
    return key, f"cl_{key_id}_{secret}"


def _is_over(key: ApiKey, now: datetime) -> bool:
    return key.expires_at is not None and now >= key.expires_at


def _hash(secret: str) -> str:
    # A fast hash is enough: the secret is 256 random bits, not a password.
    return hashlib.sha256(secret.encode()).hexdigest()
