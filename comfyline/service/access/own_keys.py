"""Keys that an owner makes and ends itself, with a key that has the scope `keys`: the maker.

    operator ──> maker (scope keys) ──> made key

A made key can do no more than its maker: it has no scope that the maker lacks, never the scope
`keys`, no larger limit and no later end. It ends with its maker, because an attacker who has a
leaked maker could make keys with it. So there is one step only, and authenticating a made key costs
one more read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta

from comfyline.contract.ids import KeyId, OwnerId
from comfyline.contract.limits import MAX_BATCH_SIZE, MAX_OWN_KEYS, MAX_PIXELS
from comfyline.service.access.authenticate import new_key
from comfyline.service.access.budgets import (
    GB,
    REQUESTS,
    SOCKETS,
    UPLOAD_BYTES,
    UPLOADS,
    limit_of,
    open_sockets_of,
    wait_share,
)
from comfyline.service.access.keys import KEYS_SCOPE, ApiKey, KeyStore, with_included
from comfyline.service.access.slots import MAX_ACTIVE_JOBS, MAX_JOBS_PER_MINUTE, Limits
from comfyline.service.clock import Clock, earliest
from comfyline.service.errors import (
    FieldError,
    Forbidden,
    InvalidRequest,
    KeyNotFound,
    TooManyKeys,
    Unauthorized,
)

# A made key that has ended is removed when another one is made, if it has ended so long ago: by
# then its sockets, sessions and tokens have ended too.
KEPT_AFTER_END = timedelta(days=7)

# Bounds of the limits that the service has none of by itself.
_HIGHEST: Mapping[str, int] = {
    "max_active_jobs": MAX_ACTIVE_JOBS,
    "jobs_per_minute": MAX_JOBS_PER_MINUTE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key that an owner asks for. It takes each limit that is None from its maker."""

    name: str
    scopes: frozenset[str]
    lifetime: timedelta | None
    limits: Limits


@dataclass(frozen=True, slots=True)
class Service:
    """The service's own limits, which hold for a key that has none."""

    requests_per_minute: int
    max_waits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnKeys:
    """The verbs of makers."""

    keys: KeyStore
    service: Service
    clock: Clock

    def list(self, owner: OwnerId) -> list[ApiKey]:
        """Every key of the owner, oldest first, also those of operators and those that ended."""
        return self.keys.of_owner(owner)

    def make(self, asked: NewKey, maker_id: KeyId) -> tuple[ApiKey, str]:
        """Store a new key. Return it and its text, which cannot be read again.

        Raises:
            Unauthorized, Forbidden: the maker has ended, or lacks a scope.
            InvalidRequest: a limit or the lifetime exceeds that of the maker.
            TooManyKeys: the owner has as many as it may.
        """
        now, maker = self.clock(), self._maker(maker_id)
        key, text = self._new(asked, maker, now)
        self._make_room(maker.owner, now)
        self.keys.put(key)
        return key, text

    def end(self, key_id: KeyId, maker_id: KeyId) -> ApiKey:
        """Disable a key of the owner for good, and return it. A maker may end itself.

        Raises:
            Unauthorized, Forbidden: the maker has ended, or lacks a scope of the key.
            KeyNotFound: the owner has no such key.
        """
        now, maker = self.clock(), self._maker(maker_id)
        self._of_maker(key_id, maker)
        ended = self.keys.change(
            key_id, lambda key: key if key.disabled else replace(key, disabled_at=now)
        )
        if ended is None:
            raise KeyNotFound(key_id)
        return ended

    def rotate(
        self, key_id: KeyId, maker_id: KeyId, overlap: timedelta
    ) -> tuple[ApiKey, ApiKey, str]:
        """Store a new key in the place of one that ends after `overlap`; both, and the new text.

        Both are stored, or none. The new key can do what the old one can, and ends when the old one
        would have ended.

        Raises:
            Unauthorized, Forbidden: the maker has ended, or could not make the key.
            KeyNotFound: the owner has no such key, or it has ended.
            TooManyKeys: the owner has as many as it may.
        """
        now, maker = self.clock(), self._maker(maker_id)
        old = self._of_maker(key_id, maker)
        if old.is_void(now) or old.id == maker.id:
            raise KeyNotFound(key_id)
        key, text = new_key(
            old.owner,
            scopes=old.scopes,
            expires_at=earliest(old.expires_at, maker.expires_at),
            now=now,
            limits=self._inherited(self._narrowed(old.limits, maker.limits), maker.limits),
            name=old.name,
            made_by=maker.id,
        )
        self._make_room(old.owner, now)
        ended = now + overlap

        def ending(old: ApiKey) -> ApiKey:
            if old.is_void(now):
                raise KeyNotFound(old.id)
            return replace(old, expires_at=earliest(old.expires_at, ended))

        if not self.keys.replace(key_id, ending, key):
            raise KeyNotFound(key_id)
        return key, ending(old), text

    # --- what a maker may do ----------------------------------------------------------------------

    def _maker(self, key_id: KeyId) -> ApiKey:
        """The maker as it is now: the gateway's answer about it may be half a minute old."""
        maker = self.keys.get(key_id)
        if maker is None or maker.is_void(self.clock()):
            raise Unauthorized
        if KEYS_SCOPE not in maker.scopes or maker.made_by is not None:
            raise Forbidden(f"The key lacks the scope {KEYS_SCOPE}.")
        return maker

    def _of_maker(self, key_id: KeyId, maker: ApiKey) -> ApiKey:
        key = self.keys.get(key_id)
        if key is None or key.owner != maker.owner:
            raise KeyNotFound(key_id)
        if key.id != maker.id:
            _require_scopes(key.scopes, maker)
        return key

    def _new(self, asked: NewKey, maker: ApiKey, now: datetime) -> tuple[ApiKey, str]:
        _require_scopes(asked.scopes, maker)
        errors = [*self._too_large(asked.limits, maker.limits), *_too_long(asked, maker, now)]
        if errors:
            raise InvalidRequest("The key would exceed the key that makes it.", errors)
        ends_at = None if asked.lifetime is None else now + asked.lifetime
        return new_key(
            maker.owner,
            scopes=asked.scopes,
            expires_at=earliest(ends_at, maker.expires_at),
            now=now,
            limits=self._inherited(asked.limits, maker.limits),
            name=asked.name,
            made_by=maker.id,
        )

    def _make_room(self, owner: OwnerId, now: datetime) -> None:
        """Remove keys that ended long ago.

        The list may lag, so calls at the same time may exceed the bound by as many as the owner's
        budget of new keys allows.

        Raises:
            TooManyKeys: the others are as many as the owner may have.
        """
        own = [key for key in self.keys.of_owner(owner) if key.made_by is not None]
        old = [key for key in own if key.void_at and key.void_at + KEPT_AFTER_END < now]
        for key in old:
            self.keys.delete(key.id)
        if len(own) - len(old) >= MAX_OWN_KEYS:
            raise TooManyKeys(f"An owner may make {MAX_OWN_KEYS} keys. End one that is not used.")

    # --- limits -----------------------------------------------------------------------------------

    def _ceilings(self, limits: Limits) -> Limits:
        """What holds for a key with these limits; None where nothing limits it."""
        requests = self.service.requests_per_minute
        return replace(
            limits,
            max_pixels=limits.max_pixels or MAX_PIXELS,
            max_batch_size=limits.max_batch_size or MAX_BATCH_SIZE,
            requests_per_minute=limit_of(REQUESTS, limits, requests),
            uploads_per_minute=limit_of(UPLOADS, limits),
            upload_gb_per_day=limit_of(UPLOAD_BYTES, limits) // GB,
            sockets_per_minute=limit_of(SOCKETS, limits),
            max_sockets=open_sockets_of(limits),
            max_waits=wait_share(self.service.max_waits, limits),
        )

    def _too_large(self, asked: Limits, own: Limits) -> Iterator[FieldError]:
        ceilings = self._ceilings(own)
        for field in fields(Limits):
            bound, most = getattr(asked, field.name), getattr(ceilings, field.name)
            most = _HIGHEST[field.name] if most is None else most
            if bound is not None and bound > most:
                text = f"must be at most {most:,}, which is the limit of your own key"
                yield FieldError(("body", "limits", field.name), text)

    def _narrowed(self, limits: Limits, own: Limits) -> Limits:
        """The limits that are set, none of them above the maker's."""
        most = limits.within(self._ceilings(own))
        is_set = {f.name for f in fields(Limits) if getattr(limits, f.name) is not None}
        return Limits(**{name: getattr(most, name) for name in is_set})

    def _inherited(self, asked: Limits, own: Limits) -> Limits:
        given = {f.name: getattr(asked, f.name) for f in fields(Limits)}
        limits = replace(own, **{name: bound for name, bound in given.items() if bound is not None})
        if limits.jobs_per_minute is not None and limits.requests_per_minute is None:
            # Without it, a rate of jobs would raise the limit of requests; see `limit_of`.
            return replace(limits, requests_per_minute=self._ceilings(own).requests_per_minute)
        return limits


def _require_scopes(scopes: frozenset[str], maker: ApiKey) -> None:
    more = scopes - (with_included(maker.scopes) - {KEYS_SCOPE})
    if more:
        raise Forbidden(f"Your key cannot do this to a key with the scope {min(more)}.")


def _too_long(asked: NewKey, maker: ApiKey, now: datetime) -> Iterator[FieldError]:
    if asked.lifetime is None or maker.expires_at is None:
        return
    if now + asked.lifetime > maker.expires_at:
        left = int((maker.expires_at - now).total_seconds())
        yield FieldError(("body", "expires_in"), f"must be at most {left:,}: your key ends then")
