"""People who sign in at the issuer that the deployment file names (OpenID Connect).

A person has no API key. What the issuer's token says is made into a *vouched* key: it has an owner,
scopes, limits and an end as every key, and no store has it.

The owners of people never are those of API keys: `sso.<claim>` is reserved for them, unless the
deployment file maps a value of the claim to an owner on purpose.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, Self

from comfyline.contract.ids import KeyId, OwnerId
from comfyline.service.access.keys import VOUCHED_PREFIX, ApiKey
from comfyline.service.access.slots import MAX_ACTIVE_JOBS, MAX_JOBS_PER_MINUTE, Limits
from comfyline.service.clock import Clock

# A claim that is no name of an owner is hashed; the hash has another prefix, so that a person
# cannot get it by choosing a name.
OWNER_PREFIX, HASHED_OWNER_PREFIX = "sso.", "sso-"
MAX_JWT = 8_192  # characters; API Gateway takes 10,240 bytes of headers
_PLAIN = re.compile(r"[A-Za-z0-9._@-]{1,60}")
_NAME = 80  # characters of a name that is shown
# By their standards these are texts with spaces in between. In any other claim a space is a part of
# the value: who is in the group "Domain admins" is not in "admins".
_LISTS_WITH_SPACES = ("scope", "scp")
_HIGHEST = {"max_active_jobs": MAX_ACTIVE_JOBS, "jobs_per_minute": MAX_JOBS_PER_MINUTE}
_HIGHEST_OTHER = 1_000_000_000

Claims = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInRules:
    """The section [sign_in] of the deployment file: infra/sections/sign_in.py describes each."""

    issuer: str
    client_id: str = ""
    audiences: tuple[str, ...] = ()
    scope: str = "openid"
    owner_claim: str = "sub"
    owners: Mapping[str, str] = field(default_factory=dict)
    name_claim: str = ""
    default_scopes: str = ""
    scopes_claim: str = ""
    scopes: Mapping[str, str] = field(default_factory=dict)
    required_claims: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, int] = field(default_factory=dict)
    limit_claims: Mapping[str, str] = field(default_factory=dict)
    leeway_seconds: int = 60
    session_minutes: int = 720
    page_origins: tuple[str, ...] = ()  # that the console calls at the issuer

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """The rules in a function's environment variable; None if people have keys only."""
        if not text:
            return None
        known = {one.name for one in fields(cls)}
        given = {name: value for name, value in json.loads(text).items() if name in known}
        lists = {name: tuple(given.get(name, ())) for name in ("audiences", "page_origins")}
        return cls(**{**given, **lists})

    @property
    def accepted(self) -> tuple[str, ...]:
        """The audiences of which a token must have one."""
        return tuple(filter(None, (self.client_id, *self.audiences)))

    @property
    def session(self) -> timedelta:
        """How long a session of a person lives."""
        return timedelta(minutes=self.session_minutes)


@dataclass(frozen=True, slots=True)
class IssuerEndpoints:
    """Where a page sends a person to sign in, and where it exchanges the code."""

    authorization: str
    token: str


class Issuer(Protocol):
    """Verifies tokens of the issuer, and knows its endpoints."""

    def claims(self, token: str) -> Claims | None:
        """The claims of a valid token for one of the accepted audiences; None of any other.

        Raises:
            Unavailable: the issuer's keys cannot be read now.
        """

    def endpoints(self) -> IssuerEndpoints:
        """The endpoints for a page.

        Raises:
            Unavailable: the issuer's configuration cannot be read now.
        """


@dataclass(frozen=True, slots=True)
class People:
    """Makes keys of the issuer's tokens."""

    issuer: Issuer
    rules: SignInRules
    clock: Clock

    def key_of(self, token: str) -> ApiKey | None:
        """The vouched key of a valid token; None if it is not valid, or if it may do nothing."""
        claims = self.issuer.claims(token) if len(token) <= MAX_JWT else None
        return None if claims is None else vouched_key(claims, self.rules, self.clock())


def is_reserved(owner: str) -> bool:
    """Whether only people may have this owner."""
    return owner.startswith((OWNER_PREFIX, HASHED_OWNER_PREFIX))


def vouched_key(claims: Claims, rules: SignInRules, now: datetime) -> ApiKey | None:
    """The key that verified claims make; None if the rules give this person nothing."""
    owner, scopes = _owner(claims, rules), _scopes(claims, rules)
    if owner is None or not scopes or not _has_required(claims, rules):
        return None
    ends_at = int(claims["exp"]) + rules.leeway_seconds
    return ApiKey(
        id=KeyId(f"{VOUCHED_PREFIX}{_hash(rules.issuer, claims['sub'])[:32]}"),
        secret_sha256="",
        owner=owner,
        scopes=scopes,
        created_at=now,
        name=_text(claim_of(claims, rules.name_claim)).encode("utf-8", "replace").decode()[:_NAME],
        expires_at=datetime.fromtimestamp(ends_at, UTC),
        limits=Limits(**dict(_limits(claims, rules))),
    )


def _owner(claims: Claims, rules: SignInRules) -> OwnerId | None:
    value = _text(claim_of(claims, rules.owner_claim))
    # Anyone may write any address at some issuers, until the address is verified.
    if not value or (rules.owner_claim == "email" and claims.get("email_verified") is not True):
        return None
    if rules.owners:
        mapped = rules.owners.get(value)
        return None if mapped is None else OwnerId(mapped)
    if _PLAIN.fullmatch(value):
        return OwnerId(f"{OWNER_PREFIX}{value}")
    return OwnerId(f"{HASHED_OWNER_PREFIX}{_hash(value)[:40]}")


def claim_of(claims: Claims, name: str) -> object:
    """The claim of that name, or the one to which the dots in it lead (`realm_access.roles`).

    A name may hold dots itself, as a URL does, so the whole name comes first.
    """
    if name in claims:
        return claims[name]
    for dot in (at for at, character in enumerate(name) if character == "."):
        inner = claims.get(name[:dot])
        if isinstance(inner, dict):
            return claim_of(inner, name[dot + 1 :])
    return None


def _scopes(claims: Claims, rules: SignInRules) -> frozenset[str]:
    named = _values(claims, rules.scopes_claim)
    granted = [rules.default_scopes, *(rules.scopes.get(value, "") for value in named)]
    return frozenset(scope for text in granted for scope in text.split())


def _has_required(claims: Claims, rules: SignInRules) -> bool:
    required = rules.required_claims.items()
    return all(value in _values(claims, name) for name, value in required)


def _limits(claims: Claims, rules: SignInRules) -> Iterator[tuple[str, int]]:
    for name in {*rules.limits, *rules.limit_claims}:
        claimed = _number(claim_of(claims, rules.limit_claims.get(name, "")))
        bound = claimed or rules.limits.get(name)
        if bound is not None:
            yield name, min(bound, _HIGHEST.get(name, _HIGHEST_OTHER))


def _number(value: object) -> int | None:
    """A claim that is a positive number, also as text. Of any other the default holds."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    is_digits = isinstance(value, str) and re.fullmatch(r"[1-9][0-9]{0,9}", value)
    return int(str(value)) if is_digits else None


def _values(claims: Claims, name: str) -> tuple[str, ...]:
    """The texts of a claim that has one value or a list of them."""
    found = claim_of(claims, name)
    if isinstance(found, str) and name in _LISTS_WITH_SPACES:
        return tuple(found.split())
    values = found if isinstance(found, list) else [found]
    return tuple(_scalar(value) for value in values if isinstance(value, str | int))


def _scalar(value: str | int) -> str:
    """A text, or a number or a truth value as JSON writes it."""
    return value if isinstance(value, str) else json.dumps(value)


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
