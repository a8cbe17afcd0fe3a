"""API keys, `cl_<id>_<secret>`, and socket passes. The service stores their hashes only."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from comfyline.contract.ids import KeyId, OwnerId
from comfyline.service.access.keys import ApiKey, KeyStore
from comfyline.service.access.slots import Limits
from comfyline.service.access.socket_passes import SocketPass, SocketPassStore
from comfyline.service.clock import Clock

SCOPES = frozenset({"jobs", "admin"})
# SQS is fair between owners, and logs show their names. Names that begin with another character
# are reserved for the service.
OWNER_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}"
SOCKET_PASS_LIFETIME = timedelta(seconds=60)  # the browser opens its socket right after the answer
_TOKEN = re.compile(r"cl_([0-9a-f]{16})_([0-9A-Za-z_-]{32,64})")


def authenticate(authorization: str | None, *, keys: KeyStore, clock: Clock) -> ApiKey | None:
    """Return the key of an `Authorization: Bearer …` header, or None if the key is not valid.

    The answer is the same for an unknown, wrong, disabled or expired key, so that a caller cannot
    find out which keys exist.
    """
    scheme, _, token = (authorization or "").partition(" ")
    match = _TOKEN.fullmatch(token.strip())
    if scheme.lower() != "bearer" or match is None:
        return None
    key = keys.get(KeyId(match[1]))
    if key is None or not hmac.compare_digest(_hash(match[2]), key.secret_sha256):
        return None
    return None if key.is_void(clock()) else key


def create_key(
    owner: OwnerId,
    *,
    scopes: Iterable[str],
    expires_at: datetime | None,
    keys: KeyStore,
    clock: Clock,
    limits: Limits | None = None,
) -> tuple[ApiKey, str]:
    """Store a new key. Return it and its token, which cannot be read again."""
    key_id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    key = ApiKey(
        id=KeyId(key_id),
        secret_sha256=_hash(secret),
        owner=owner,
        scopes=frozenset(scopes),
        created_at=clock(),
        expires_at=expires_at,
        limits=limits or Limits(),
    )
    keys.put(key)
    return key, f"cl_{key_id}_{secret}"


def disable_key(key_id: KeyId, *, keys: KeyStore, clock: Clock) -> ApiKey | None:
    """Disable a key and return it; None if there is no such key.

    API Gateway still accepts the key for as long as it has cached the authorizer's answer.
    """
    key = keys.get(key_id)
    if key is None:
        return None
    if key.disabled:
        return key
    disabled = replace(key, disabled_at=clock())
    keys.put(disabled)
    return disabled


def create_socket_pass(
    owner: OwnerId, key_id: KeyId, *, passes: SocketPassStore, clock: Clock
) -> tuple[SocketPass, str]:
    """Store a new socket pass. Return it and its secret, which cannot be read again."""
    secret = secrets.token_urlsafe(32)
    socket_pass = SocketPass(_hash(secret), owner, key_id, clock() + SOCKET_PASS_LIFETIME)
    passes.put(socket_pass)
    return socket_pass, secret


def redeem_socket_pass(
    secret: str, *, passes: SocketPassStore, keys: KeyStore, clock: Clock
) -> ApiKey | None:
    """Use up a socket pass and return the key that it was created with.

    None if the pass is unknown, used or expired, or if its key is disabled or has expired.
    """
    socket_pass = passes.take(_hash(secret))
    if socket_pass is None or clock() >= socket_pass.expires_at:
        return None
    key = keys.get(socket_pass.key_id)
    return None if key is None or key.is_void(clock()) else key


def _hash(secret: str) -> str:
    # A fast hash is enough, because the secret is 256 random bits and not a password.
    return hashlib.sha256(secret.encode()).hexdigest()
