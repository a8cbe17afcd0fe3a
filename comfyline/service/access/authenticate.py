"""API keys: `cl_<id>_<secret>`, and one-time tickets for sockets. Only hashes are kept."""

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
# What the queue is fair between and a log may show; a name that begins otherwise is our own.
OWNER_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}"
TICKET_LIFETIME = timedelta(seconds=60)  # from the answer of one call to the next
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
    return None if is_void(key, clock()) else key


def create_key(
    owner: OwnerId,
    *,
    scopes: Iterable[str],
    expires_at: datetime | None,
    keys: KeyStore,
    clock: Clock,
    limits: Limits | None = None,
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
        limits=limits or Limits(),
    )
    keys.put(key)
    return key, f"cl_{key_id}_{secret}"


def disable_key(key_id: KeyId, *, keys: KeyStore) -> ApiKey | None:
    """The key, which opens nothing from now on but what an authorizer has cached; None: unknown."""
    key = keys.get(key_id)
    if key is None:
        return None
    disabled = replace(key, disabled=True)
    keys.put(disabled)
    return disabled


def create_ticket(
    owner: OwnerId, key_id: KeyId, *, tickets: SocketPassStore, clock: Clock
) -> tuple[SocketPass, str]:
    """Store leave to open one socket; the ticket, which is told this once, beside it."""
    secret = secrets.token_urlsafe(32)
    stored = SocketPass(_hash(secret), owner, key_id, clock() + TICKET_LIFETIME)
    tickets.put(stored)
    return stored, secret


def redeem_ticket(
    ticket: str, *, tickets: SocketPassStore, keys: KeyStore, clock: Clock
) -> ApiKey | None:
    """The key that the ticket was made with, once; None if the ticket or the key is void."""
    stored = tickets.take(_hash(ticket))
    if stored is None or clock() >= stored.expires_at:
        return None
    key = keys.get(stored.key_id)
    return None if key is None or is_void(key, clock()) else key


def is_void(key: ApiKey, now: datetime) -> bool:
    """The key opens nothing: it was disabled or has expired."""
    return key.disabled or (key.expires_at is not None and now >= key.expires_at)


def _hash(secret: str) -> str:
    # A fast hash is enough: the secret is 256 random bits, not a password.
    return hashlib.sha256(secret.encode()).hexdigest()
