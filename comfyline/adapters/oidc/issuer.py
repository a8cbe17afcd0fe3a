"""An OpenID Connect issuer: its endpoints, its keys, and the tokens that it has signed.

PyJWT and cryptography are imported for the first token that looks like one of the issuer's, so that
the cold start of API keys does not grow.

    token with kid ──> key known? ──> signature, audience, issuer, times
                          └─ no: read the keys again, at most once in REFRESH
"""

from __future__ import annotations

import json
import math
import urllib.request
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from http.client import HTTPException
from typing import Any
from urllib.error import URLError
from urllib.parse import urlsplit

from comfyline.service.access.people import Claims, IssuerEndpoints, SignInRules
from comfyline.service.clock import Clock
from comfyline.service.errors import Unavailable

# Asymmetric ones only: with a symmetric one, the public key would be the secret.
ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
# Issuers sign other things with the same keys, such as logout tokens (RFC 8725, section 3.11).
TYPES = ("jwt", "at+jwt")
# Issuers rotate keys days before they use new ones. An unknown kid costs one read in this time,
# whatever callers send.
REFRESH, KEPT = timedelta(minutes=1), timedelta(hours=1)
_TIMEOUT_SECONDS = 2.0  # a caller waits meanwhile
_MOST_BYTES = 512_000
_LOOPBACK = ("127.0.0.1", "localhost", "::1")

Json = Mapping[str, Any]


class OidcIssuer:
    """`Issuer` over HTTPS. It keeps the keys while the process lives, for an hour at most.

    The header of a token may name a place to fetch a key from, or hold a key (jku, x5u, jwk, x5c).
    These are ignored: the keys are those that the issuer publishes.
    """

    def __init__(
        self, rules: SignInRules, clock: Clock, fetch: Callable[[str], Json] | None = None
    ) -> None:
        self._rules, self._clock = rules, clock
        self._fetch = fetch or fetch_json
        self._keys: Mapping[tuple[object, str], Any] = {}
        self._read_at: datetime | None = None
        self._tried_at: datetime | None = None
        self._configuration: Json | None = None

    def claims(self, token: str) -> Claims | None:
        """See Issuer."""
        import jwt

        try:
            header = jwt.get_unverified_header(token)
            algorithm = header.get("alg")
            if algorithm not in ALGORITHMS or "crit" in header or not _is_of_our_type(header):
                return None
            key = self._key(header.get("kid"), algorithm)
            if key is None:
                return None
            claims: Claims = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                issuer=self._rules.issuer,
                # The times are compared below, by the clock of the service, and the audience too.
                options={
                    "require": ["exp", "iss", "sub"],
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                    "verify_aud": False,
                },
            )
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            return None
        return claims if self._is_in_time(claims) and self._is_for_us(claims) else None

    def endpoints(self) -> IssuerEndpoints:
        """See Issuer."""
        found = self._described()
        names = ("authorization_endpoint", "token_endpoint")
        return IssuerEndpoints(*(self._own_url(found, name) for name in names))

    # --- a token ----------------------------------------------------------------------------------

    def _is_in_time(self, claims: Claims) -> bool:
        now, leeway = self._clock().timestamp(), self._rules.leeway_seconds
        starts = [claims[name] for name in ("nbf", "iat") if name in claims]
        if not all(map(_is_time, (claims["exp"], *starts))):
            return False
        return now < claims["exp"] + leeway and all(start <= now + leeway for start in starts)

    def _is_for_us(self, claims: Claims) -> bool:
        """Whether the token is for an accepted audience, and for nothing else than a request.

        A token for several audiences was asked for by the authorized party. A logout token reports
        events. A token that is bound to a key (RFC 7800) counts only with a proof of that key.
        """
        if "events" in claims or "cnf" in claims:
            return False
        accepted, audiences = self._rules.accepted, _audiences(claims)
        party = claims.get("azp")
        is_partys = len(audiences) < 2 or party is None or party in accepted
        return is_partys and any(one in accepted for one in audiences)

    # --- the keys ---------------------------------------------------------------------------------

    def _key(self, kid: object, algorithm: str) -> Any:
        """The key with that id for the algorithm; None if there is none.

        Only a single key needs no id.
        """
        now = self._clock()
        is_old = self._read_at is None or now - self._read_at >= KEPT
        may_read = self._tried_at is None or now - self._tried_at >= REFRESH
        is_known = (kid, algorithm) in self._keys or (kid is None and bool(self._keys))
        if (not is_known or is_old) and may_read:
            self._tried_at = now
            try:
                self._keys, self._read_at = self._published(), now
            except Unavailable:
                if not is_known:  # keys that are known go on to be accepted
                    raise
        if self._read_at is None:
            raise Unavailable("the issuer's keys could not be read a moment ago")
        if kid is None and len(self._keys) == 1:
            ((kid, _),) = self._keys
        return self._keys.get((kid, algorithm))

    def _published(self) -> Mapping[tuple[object, str], Any]:
        import jwt

        found = self._fetch(self._own_url(self._described(), "jwks_uri"))
        keys = dict[tuple[object, str], Any]()  # keys of several kinds may share an id (RFC 7517)
        for key in found.get("keys") or ():
            try:
                made = jwt.PyJWK(key)
            except (jwt.PyJWTError, ValueError, TypeError, KeyError):
                continue  # an issuer may publish keys of other kinds too
            if made.algorithm_name in ALGORITHMS and key.get("use", "sig") == "sig":
                keys[made.key_id, made.algorithm_name] = made
        return keys

    def _described(self) -> Json:
        if self._configuration is None:
            address = f"{self._rules.issuer.rstrip('/')}/.well-known/openid-configuration"
            found = self._fetch(address)
            if found.get("issuer") != self._rules.issuer:
                raise Unavailable(f"{address} is of another issuer: {found.get('issuer')!r:.200}")
            self._configuration = found
        return self._configuration

    def _own_url(self, found: Json, name: str) -> str:
        """A URL of the configuration. On this machine alone, an issuer may speak plain HTTP."""
        url = str(found.get(name))
        is_local = urlsplit(self._rules.issuer).hostname in _LOOPBACK
        if url.startswith("https://") or (is_local and urlsplit(url).hostname in _LOOPBACK):
            return url
        raise Unavailable(f"{name} of the issuer is no https URL: {url!r:.200}")


def _is_of_our_type(header: Json) -> bool:
    kind = header.get("typ", "JWT")
    return isinstance(kind, str) and kind.lower().removeprefix("application/") in TYPES


def _audiences(claims: Claims) -> list[object]:
    """Whom the token is for. Access tokens of Cognito name their client and have no audience."""
    if "aud" not in claims and claims.get("token_use") == "access":
        return [claims.get("client_id")]
    found = claims.get("aud")
    return found if isinstance(found, list) else [found]


def _is_time(value: object) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and 0 <= value < 2**37  # type: ignore[arg-type,operator]


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Follow none: what the issuer's address answers is what counts."""


_opener = urllib.request.build_opener(_NoRedirect)


def fetch_json(url: str) -> Json:
    """The JSON object at a URL, of a bounded size.

    Raises:
        Unavailable: there is none.
    """
    try:
        with _opener.open(url, timeout=_TIMEOUT_SECONDS) as answer:
            text = answer.read(_MOST_BYTES + 1)
        found = json.loads(text) if len(text) <= _MOST_BYTES else None
    except (URLError, OSError, HTTPException, ValueError, RecursionError) as error:
        raise Unavailable(f"{url} cannot be read: {error!r:.200}") from error
    if not isinstance(found, dict):
        raise Unavailable(f"{url} is no JSON object of at most {_MOST_BYTES} bytes")
    return found
