"""API keys, `cl_<id>_<secret>`, their tokens, `clt_<secret>`, sessions and socket passes.

The service stores their hashes only.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from comfyline.contract.ids import KeyId, OwnerId
from comfyline.service.access.keys import KEYS_SCOPE, ApiKey, KeyStore, with_included
from comfyline.service.access.sessions import Session, SessionStore
from comfyline.service.access.slots import Limits
from comfyline.service.access.socket_passes import SocketPass, SocketPassStore
from comfyline.service.access.tokens import NewToken, Token, TokenStore, hash_of
from comfyline.service.clock import Clock

if TYPE_CHECKING:
    from comfyline.service.access.people import People

SCOPES = frozenset({"jobs", "admin", KEYS_SCOPE})  # that an operator gives to keys
# SQS is fair between owners, and logs show their names. Names that begin with another character
# are reserved for the service.
OWNER_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}"
SOCKET_PASS_LIFETIME = timedelta(seconds=60)  # the browser opens its socket right after the answer
_KEY = re.compile(r"cl_([0-9a-f]{16})_([0-9A-Za-z_-]{32,64})")
# Three parts, none of them empty: a token without a signature is none.
_JWT = re.compile(r"[0-9A-Za-z_-]{2,}\.[0-9A-Za-z_-]{2,}\.[0-9A-Za-z_-]{2,}")
_TOKEN = re.compile(r"clt_([0-9A-Za-z_-]{43})")


@dataclass(frozen=True, slots=True)
class Identity:
    """A valid key that calls, and the token of it that was sent, if one was.

    `session` is the session of the key: of the cookie or the bearer that was sent.
    """

    key: ApiKey
    token: Token | None = None
    session: Session | None = None

    @property
    def scopes(self) -> frozenset[str]:
        """What the caller may do: of a token, what the key may do too."""
        if self.token is None:
            return self.key.scopes
        return with_included(self.key.scopes) & self.token.scopes


def authenticate(
    authorization: str | None,
    *,
    keys: KeyStore,
    tokens: Callable[[], TokenStore],
    sessions: Callable[[], SessionStore],
    people: Callable[[], People | None] = lambda: None,
    clock: Clock,
) -> Identity | None:
    """Return who sent an `Authorization: Bearer …` header, or None if it is not valid.

    The answer is the same for an unknown, wrong, disabled or expired key, so that a caller cannot
    find out which keys exist. `tokens` and `sessions` are called only if the header has a token,
    and `people` only if it has what looks like a token of an issuer.
    """
    scheme, _, text = (authorization or "").partition(" ")
    if scheme.lower() != "bearer":
        return None
    if match := _TOKEN.fullmatch(text.strip()):
        return of_token(
            hash_of(match[1]), keys=keys, tokens=tokens(), sessions=sessions, clock=clock
        )
    if _JWT.fullmatch(text.strip()):
        return _of_person(text.strip(), people(), clock)
    match = _KEY.fullmatch(text.strip())
    key = keys.get(KeyId(match[1])) if match else None
    if match is None or key is None:
        return None
    if not hmac.compare_digest(hash_of(match[2]), key.secret_sha256):
        return None
    return _identity(key, keys, clock())


def of_token(
    sha256: str,
    *,
    keys: KeyStore,
    tokens: TokenStore,
    sessions: Callable[[], SessionStore],
    clock: Clock,
) -> Identity | None:
    """The valid token with this hash and its valid key; None if one of them is not valid.

    The bearer of a session is valid while its session is.
    """
    token = tokens.get(sha256)
    if token is None or clock() >= token.expires_at:
        return None
    if token.session is not None:
        found = of_session(token.key_id, token.session, keys=keys, sessions=sessions(), clock=clock)
    else:
        found = of_key(token.key_id, keys=keys, clock=clock)
    if found is None or found.key.owner != token.owner:
        return None
    return replace(found, token=token)


def of_session(
    key_id: KeyId, sha256: str, *, keys: KeyStore, sessions: SessionStore, clock: Clock
) -> Identity | None:
    """The key's valid session with this hash and the valid key; None if one is not valid."""
    session = sessions.get(key_id, sha256)
    if session is None or clock() >= session.expires_at:
        return None
    if session.vouched is not None:
        return Identity(session.vouched, session=session)
    found = of_key(key_id, keys=keys, clock=clock)
    if found is None or found.key.owner != session.owner:
        return None
    return replace(found, session=session)


def _of_person(token: str, people: People | None, clock: Clock) -> Identity | None:
    key = people.key_of(token) if people else None
    return None if key is None or key.is_void(clock()) else Identity(key)


def of_key(key_id: KeyId, *, keys: KeyStore, clock: Clock) -> Identity | None:
    """The key, if it is valid."""
    key = keys.get(key_id)
    return None if key is None else _identity(key, keys, clock())


def _identity(key: ApiKey, keys: KeyStore, now: datetime) -> Identity | None:
    """The key, if it is valid. One that another key has made costs a second read.

    It ends with that key, whichever way that key ends, and its scopes and its limits never exceed
    those that that key has now. So a leaked key leaves nothing behind, and no key needs to be found
    when another one is disabled.
    """
    if key.is_void(now):
        return None
    if key.made_by is None:
        return Identity(key)
    maker = keys.get(key.made_by)
    if maker is None or maker.owner != key.owner or maker.is_void(now) or maker.made_by:
        return None
    scopes = key.scopes & with_included(maker.scopes)
    return Identity(replace(key, scopes=scopes, limits=key.limits.within(maker.limits)))


def create_token(
    asked: NewToken, owner: OwnerId, key_id: KeyId, *, tokens: TokenStore, clock: Clock
) -> tuple[Token, str]:
    """Store a new token of a key. Return it and its text, which cannot be read again.

    It is void once its key is, even if it would live longer.
    """
    secret = secrets.token_urlsafe(32)
    token = Token(
        sha256=hash_of(secret),
        owner=owner,
        key_id=key_id,
        user=asked.user,
        scopes=asked.scopes,
        expires_at=clock() + asked.lifetime,
        max_jobs=asked.max_jobs,
    )
    tokens.put(token)
    return token, f"clt_{secret}"


def create_key(
    owner: OwnerId,
    *,
    scopes: Iterable[str],
    expires_at: datetime | None,
    keys: KeyStore,
    clock: Clock,
    limits: Limits | None = None,
    name: str = "",
) -> tuple[ApiKey, str]:
    """Store a new key. Return it and its token, which cannot be read again."""
    key, text = new_key(
        owner, scopes=scopes, expires_at=expires_at, now=clock(), limits=limits, name=name
    )
    keys.put(key)
    return key, text


def new_key(
    owner: OwnerId,
    *,
    scopes: Iterable[str],
    expires_at: datetime | None,
    now: datetime,
    limits: Limits | None = None,
    name: str = "",
    made_by: KeyId | None = None,
) -> tuple[ApiKey, str]:
    """A new key, which is not stored yet, and its token."""
    key_id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    key = ApiKey(
        id=KeyId(key_id),
        secret_sha256=hash_of(secret),
        owner=owner,
        scopes=frozenset(scopes),
        created_at=now,
        name=name,
        expires_at=expires_at,
        limits=limits or Limits(),
        made_by=made_by,
    )
    return key, f"cl_{key_id}_{secret}"


def disable_key(key_id: KeyId, *, keys: KeyStore, clock: Clock) -> ApiKey | None:
    """Disable a key and return it; None if there is no such key.

    API Gateway still accepts the key for as long as it has cached the authorizer's answer.
    """
    now = clock()
    return keys.change(key_id, lambda key: key if key.disabled else replace(key, disabled_at=now))


def create_socket_pass(
    owner: OwnerId,
    key_id: KeyId,
    token: str | None = None,
    *,
    passes: SocketPassStore,
    clock: Clock,
    vouched: ApiKey | None = None,
) -> tuple[SocketPass, str]:
    """Store a new socket pass. Return it and its secret, which cannot be read again.

    `token` is the hash of the token that asks for it; the pass can do no more than that token.
    `vouched` is the key of a person who asks for it.
    """
    secret = secrets.token_urlsafe(32)
    expires_at = clock() + SOCKET_PASS_LIFETIME
    socket_pass = SocketPass(hash_of(secret), owner, key_id, expires_at, token, vouched)
    passes.put(socket_pass)
    return socket_pass, secret


def redeem_socket_pass(
    secret: str,
    *,
    passes: SocketPassStore,
    keys: KeyStore,
    tokens: Callable[[], TokenStore],
    sessions: Callable[[], SessionStore],
    clock: Clock,
) -> Identity | None:
    """Use up a socket pass and return who created it.

    None if the pass is unknown, used or expired, or if its key or its token is not valid any more.
    """
    socket_pass = passes.take(hash_of(secret))
    if socket_pass is None or clock() >= socket_pass.expires_at:
        return None
    if socket_pass.token is not None:
        return of_token(
            socket_pass.token, keys=keys, tokens=tokens(), sessions=sessions, clock=clock
        )
    if (key := socket_pass.vouched) is not None:
        return None if key.is_void(clock()) else Identity(key)
    return of_key(socket_pass.key_id, keys=keys, clock=clock)
