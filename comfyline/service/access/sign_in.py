"""Sign a person in at the console, keep the page signed in, and sign out.

The page has two secrets. The cookie, `cls_<key id>_<secret>`, is kept by the browser and read by
few routes; no script sees it. The bearer is a token that the page sends with its requests.

A link, `cll_<secret>`, signs in without a key, once.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from comfyline.contract.ids import KeyId, OwnerId
from comfyline.service.access.authenticate import Identity, of_key, of_session
from comfyline.service.access.keys import ApiKey, KeyStore, is_vouched, with_included
from comfyline.service.access.sessions import (
    BEARER_LIFETIME,
    LINK_LIFETIME,
    MAX_SESSIONS,
    SESSION_LIFETIME,
    Session,
    SessionStore,
)
from comfyline.service.access.socket_passes import SocketPass, SocketPassStore
from comfyline.service.access.tokens import Token, TokenStore, hash_of
from comfyline.service.clock import Clock

_COOKIE = re.compile(r"cls_([0-9a-f]{16}|sso-[0-9a-f]{32})_([0-9A-Za-z_-]{43})")
_LINK = re.compile(r"cll_([0-9A-Za-z_-]{43})")


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn:
    """Starts, renews and ends the sessions of keys.

    `links` holds the links that have not been used. They are kept apart from socket passes, because
    a token that may open a socket must not sign in with the pass.
    """

    keys: KeyStore
    sessions: SessionStore
    tokens: Callable[[], TokenStore]
    links: Callable[[], SocketPassStore]
    clock: Clock

    def start(self, key: ApiKey, lifetime: timedelta = SESSION_LIFETIME) -> tuple[Session, str]:
        """Store a new session of the key. Return it and its cookie, which cannot be read again.

        The secret is always new, so an attacker cannot plant one before the sign-in. The session
        ends with the key at the latest. A person's key ends with the issuer's token, which is
        short, so the session has a copy that lives as long as itself.
        """
        secret, now = secrets.token_urlsafe(32), self.clock()
        vouched = None
        if is_vouched(key.id):
            vouched = key = replace(key, expires_at=now + lifetime)
        session = Session(
            sha256=hash_of(secret),
            owner=key.owner,
            key_id=key.id,
            created_at=now,
            expires_at=min(now + lifetime, key.expires_at or now + lifetime),
            vouched=vouched,
        )
        self.sessions.put(session)
        self._end_oldest(session, now)
        return session, f"cls_{key.id}_{secret}"

    def _end_oldest(self, newest: Session, now: datetime) -> None:
        # Several sign-ins may run at once. Each reads after its own write, so the last of them sees
        # all. A process that dies in between leaves one session more, until the next sign-in.
        others = [one for one in self.sessions.of_key(newest.key_id) if one != newest]
        alive = sorted((one for one in others if one.expires_at > now), key=_age, reverse=True)
        for old in alive[MAX_SESSIONS - 1 :]:
            self.sessions.end(old.id, now)

    def find(self, cookie: str) -> Identity | None:
        """Who has this cookie; None if the session has ended or its key is void."""
        match = _COOKIE.fullmatch(cookie)
        if match is None:
            return None
        return of_session(
            KeyId(match[1]),
            hash_of(match[2]),
            keys=self.keys,
            sessions=self.sessions,
            clock=self.clock,
        )

    def renew(self, session: Session, key: ApiKey) -> tuple[Token, str]:
        """Store a new bearer of the session, for all that the key may do. Return it and its text.

        It ends with the session at the latest.
        """
        secret = secrets.token_urlsafe(32)
        bearer = Token(
            sha256=hash_of(secret),
            owner=key.owner,
            key_id=key.id,
            user=None,
            scopes=with_included(key.scopes),
            expires_at=min(self.clock() + BEARER_LIFETIME, session.expires_at),
            session=session.sha256,
        )
        self.tokens().put(bearer)
        return bearer, f"clt_{secret}"

    def end(self, session: Session) -> None:
        """End the session, and with it its bearers. The sweeper closes the sockets of these."""
        self.sessions.end(session.id, self.clock())

    def end_all(self, key_id: KeyId) -> None:
        """End all sessions of the key: it is signed out everywhere."""
        for session in self.sessions.of_key(key_id):
            self.end(session)

    def make_link(self, owner: OwnerId, key_id: KeyId) -> tuple[SocketPass, str]:
        """Store a new link of the key. Return it and its code, which cannot be read again."""
        secret = secrets.token_urlsafe(32)
        link = SocketPass(hash_of(secret), owner, key_id, self.clock() + LINK_LIFETIME)
        self.links().put(link)
        return link, f"cll_{secret}"

    def redeem_link(self, code: str) -> Identity | None:
        """Use up a link and return its key; None if it is unknown, used or old, or the key void."""
        match = _LINK.fullmatch(code)
        link = self.links().take(hash_of(match[1])) if match else None
        if link is None or self.clock() >= link.expires_at:
            return None
        return of_key(link.key_id, keys=self.keys, clock=self.clock)


def _age(session: Session) -> datetime:
    return session.created_at
