"""Tokens that an attacker makes, and issuers that misbehave: none of them signs anybody in."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from comfyline.adapters.oidc.issuer import KEPT, REFRESH, OidcIssuer, fetch_json
from comfyline.service.access.people import SignInRules
from comfyline.service.errors import Unavailable
from tests.integration.people.issuers import (
    EC,
    ISSUER,
    KEYS,
    OTHER,
    RSA,
    WELL_KNOWN,
    Net,
    published,
    signed,
)
from tests.support.builders import FrozenClock
from tests.support.tcp import answering

RULES = SignInRules(
    issuer=ISSUER, client_id="console", audiences=("api",), default_scopes="jobs", leeway_seconds=60
)


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
def net() -> Net:
    return Net()


@pytest.fixture
def issuer(net: Net, clock: FrozenClock) -> OidcIssuer:
    return OidcIssuer(RULES, clock, net.fetch)


def good(clock: FrozenClock, **changed: Any) -> dict[str, Any]:
    now = int(clock().timestamp())
    claims = {"iss": ISSUER, "aud": "console", "sub": "alice", "iat": now, "exp": now + 3600}
    return {name: value for name, value in {**claims, **changed}.items() if value is not None}


def encoded(part: Any) -> str:
    text = json.dumps(part).encode() if not isinstance(part, bytes) else part
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def with_hmac_of(secret: bytes, claims: Mapping[str, Any]) -> str:
    """Made by hand, because PyJWT refuses to sign with a public key."""
    text = f"{encoded({'alg': 'HS256', 'kid': 'rsa'})}.{encoded(dict(claims))}"
    return f"{text}.{encoded(hmac.new(secret, text.encode(), hashlib.sha256).digest())}"


def signed_by_hand(header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
    """For headers and claims that PyJWT does not sign."""
    text = f"{encoded(dict(header))}.{encoded(dict(claims))}"
    return f"{text}.{encoded(RSAAlgorithm(RSAAlgorithm.SHA256).sign(text.encode(), RSA))}"


# --- what is accepted -----------------------------------------------------------------------------


@pytest.mark.parametrize(("alg", "key"), [("RS256", RSA), ("ES256", EC)])
def test_a_token_of_the_issuer_is_accepted(
    issuer: OidcIssuer, clock: FrozenClock, alg: str, key: Any
) -> None:
    found = issuer.claims(signed(good(clock), key=key, alg=alg))
    assert found is not None
    assert found["sub"] == "alice"


@pytest.mark.parametrize(
    "changed",
    [
        {"aud": "api"},
        {"aud": ["others", "console"]},
        {"aud": ["others", "console"], "azp": "console"},
        {"exp": -59},
        {"nbf": 59},
        {"iat": 59},
        {"nbf": -10},
        {"iat": None},
    ],
)
def test_what_is_within_the_rules_is_accepted(
    issuer: OidcIssuer, clock: FrozenClock, changed: dict[str, Any]
) -> None:
    now = int(clock().timestamp())
    moved = {n: now + v if isinstance(v, int) else v for n, v in changed.items()}
    assert issuer.claims(signed(good(clock, **moved))) is not None


@pytest.mark.parametrize("typ", ["JWT", "jwt", "at+jwt", "application/at+jwt", None])
def test_a_token_of_a_known_type_is_accepted(
    issuer: OidcIssuer, clock: FrozenClock, typ: str | None
) -> None:
    assert issuer.claims(signed(good(clock), typ=typ))


ED = ed25519.Ed25519PrivateKey.generate()


@pytest.mark.parametrize(
    ("alg", "key", "public"),
    [
        ("PS256", OTHER, published("new", RSAAlgorithm, OTHER, alg="PS256")),
        ("EdDSA", ED, published("new", OKPAlgorithm, ED)),
        # RFC 7517 lets keys of different kinds share an id.
        ("ES256", EC, published("rsa", ECAlgorithm, EC, use="sig")),
    ],
)
def test_a_key_of_another_kind_is_used_for_its_algorithm(
    issuer: OidcIssuer, net: Net, clock: FrozenClock, alg: str, key: Any, public: dict[str, Any]
) -> None:
    net.answers[KEYS]["keys"].append(public)
    assert issuer.claims(signed(good(clock), key=key, alg=alg, kid=public["kid"]))
    assert issuer.claims(signed(good(clock)))


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "https://evil.example"},
        {"iss": f"{ISSUER}/"},
        {"iss": None},
        {"aud": "others"},
        {"aud": []},
        {"aud": None},
        {"aud": {"console": 1}},
        {"aud": ["others", "console"], "azp": "others"},
        {"sub": None},
        {"sub": 7},
        {"aud": None, "client_id": "console"},
        {"aud": None, "client_id": "others", "token_use": "access"},
        {"aud": None, "client_id": "console", "token_use": "id"},
        {"aud": None, "token_use": "access"},
        {"aud": "others", "client_id": "console", "token_use": "access"},
        {"events": {"http://schemas.openid.net/event/backchannel-logout": {}}},
        {"cnf": {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}},
    ],
)
def test_a_claim_that_is_not_ours_is_refused(
    issuer: OidcIssuer, clock: FrozenClock, changed: dict[str, Any]
) -> None:
    assert issuer.claims(signed(good(clock, **changed))) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("exp", -60),
        ("nbf", 61),
        ("iat", 61),
        ("exp", None),
        ("exp", "soon"),
        ("exp", True),
        ("exp", float("inf")),
        ("exp", 10**30),
        ("nbf", "now"),
        ("iat", [1]),
    ],
)
def test_a_time_that_is_wrong_is_refused(
    issuer: OidcIssuer, clock: FrozenClock, name: str, value: Any
) -> None:
    is_span = isinstance(value, int) and not isinstance(value, bool) and value < 1000
    claims = good(clock) | {name: int(clock().timestamp()) + value if is_span else value}
    if value is None:
        del claims[name]
    assert issuer.claims(signed_by_hand({"alg": "RS256", "kid": "rsa"}, claims)) is None


def with_payload(token: str, claims: Mapping[str, Any]) -> str:
    header, _, signature = token.split(".")
    return f"{header}.{encoded(dict(claims))}.{signature}"


PEM = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
FORGED: dict[str, Callable[[dict[str, Any]], str]] = {
    "no signature": lambda c: f"{encoded({'alg': 'none', 'kid': 'rsa'})}.{encoded(c)}.",
    "none with a signature": lambda c: (
        f"{encoded({'alg': 'none', 'kid': 'rsa'})}.{encoded(c)}.AAAA"
    ),
    "None in capitals": lambda c: f"{encoded({'alg': 'NONE', 'kid': 'rsa'})}.{encoded(c)}.AAAA",
    "HMAC of the public key": lambda c: with_hmac_of(PEM, c),
    "HMAC of nothing": lambda c: with_hmac_of(b"", c),
    "another algorithm": lambda c: signed(c, alg="RS512"),
    "padding PS256": lambda c: signed(c, alg="PS256"),
    "another key": lambda c: signed(c, key=OTHER),
    "another kind of key": lambda c: signed(c, key=EC, alg="ES256", kid="rsa"),
    "no kid": lambda c: jwt.encode(c, RSA, algorithm="RS256"),
    "unknown kid": lambda c: signed(c, kid="nobody"),
    "kid of a path": lambda c: signed(c, kid="../../../../dev/null"),
    "kid of a query": lambda c: signed(c, kid="' OR '1'='1"),
    "jku": lambda c: signed(c, key=OTHER, kid="evil", jku="https://evil.example/keys"),
    "x5u": lambda c: signed(c, key=OTHER, kid="evil", x5u="https://evil.example/cert"),
    "jwk": lambda c: signed(c, key=OTHER, jwk=json.loads(RSAAlgorithm.to_jwk(OTHER.public_key()))),
    "crit": lambda c: signed(c, crit=["exp"], exp=1),
    "logout token": lambda c: signed(c, typ="logout+jwt"),
    "security event": lambda c: signed(c, typ="application/secevent+jwt"),
    "type of a list": lambda c: signed_by_hand({"alg": "RS256", "kid": "rsa", "typ": ["JWT"]}, c),
    "claims changed": lambda c: with_payload(signed(c), {**c, "sub": "bob"}),
    "no JSON": lambda c: f"{encoded({'alg': 'RS256', 'kid': 'rsa'})}.{encoded(b'{')}.AAAA",
    "header of a list": lambda c: f"{encoded([])}.{encoded(c)}.AAAA",
    "kid of a number": lambda c: f"{encoded({'alg': 'RS256', 'kid': 7})}.{encoded(c)}.AAAA",
    "deep": lambda c: f"{encoded(b'[' * 5000)}.{encoded(b'[' * 5000)}.AAAA",
    "not base64": lambda c: "a.b.c",
    "empty": lambda c: "..",
}


@pytest.mark.parametrize("kind", FORGED)
def test_a_forged_token_is_refused(
    issuer: OidcIssuer, net: Net, clock: FrozenClock, kind: str
) -> None:
    assert issuer.claims(FORGED[kind](good(clock))) is None
    assert set(net.asked) <= {WELL_KNOWN, KEYS}


# --- the keys -------------------------------------------------------------------------------------


def test_the_keys_are_read_once(issuer: OidcIssuer, net: Net, clock: FrozenClock) -> None:
    for _ in range(5):
        assert issuer.claims(signed(good(clock)))
    assert net.asked == [WELL_KNOWN, KEYS]


def test_a_storm_of_unknown_kids_costs_one_read_a_minute(
    issuer: OidcIssuer, net: Net, clock: FrozenClock
) -> None:
    issuer.claims(signed(good(clock)))
    for number in range(120):
        clock.advance(timedelta(seconds=1))
        assert issuer.claims(signed(good(clock), kid=f"x{number}")) is None
    assert net.asked.count(KEYS) <= 1 + 120 // REFRESH.total_seconds()
    assert issuer.claims(signed(good(clock))) is not None


def test_a_new_key_is_found(issuer: OidcIssuer, net: Net, clock: FrozenClock) -> None:
    issuer.claims(signed(good(clock)))
    net.answers[KEYS] = {"keys": [published("new", RSAAlgorithm, OTHER)]}
    clock.advance(REFRESH)
    assert issuer.claims(signed(good(clock), key=OTHER, kid="new"))
    assert issuer.claims(signed(good(clock))) is None  # the old one is withdrawn


def test_known_keys_outlive_an_issuer_that_is_away(
    issuer: OidcIssuer, net: Net, clock: FrozenClock
) -> None:
    issuer.claims(signed(good(clock)))
    del net.answers[KEYS]
    clock.advance(KEPT)
    assert issuer.claims(signed(good(clock)))


def test_an_issuer_that_is_away_is_asked_once_a_minute(
    issuer: OidcIssuer, net: Net, clock: FrozenClock
) -> None:
    net.answers.clear()
    for _ in range(3):
        with pytest.raises(Unavailable):
            issuer.claims(signed(good(clock)))
    assert net.asked == [WELL_KNOWN]


@pytest.mark.parametrize(
    "changed",
    [
        {"issuer": "https://evil.example"},
        {"jwks_uri": "http://issuer.example/keys"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": "http://127.0.0.1/keys"},
        {"jwks_uri": None},
    ],
)
def test_a_configuration_that_leads_elsewhere_is_refused(
    issuer: OidcIssuer, net: Net, clock: FrozenClock, changed: dict[str, Any]
) -> None:
    net.answers[WELL_KNOWN] = {**net.answers[WELL_KNOWN], **changed}
    with pytest.raises(Unavailable):
        issuer.claims(signed(good(clock)))
    assert net.asked == [WELL_KNOWN]


@pytest.mark.parametrize(
    "strange",
    [
        {"kty": "oct", "kid": "rsa", "k": "AAAA", "alg": "HS256"},
        {"kty": "RSA", "kid": "x"},
        {"kty": "new", "kid": "y"},
        published("z", RSAAlgorithm, OTHER, alg="RS512"),
        published("e", RSAAlgorithm, OTHER, use="enc"),
    ],
)
def test_keys_of_other_kinds_are_left_out(
    issuer: OidcIssuer, net: Net, clock: FrozenClock, strange: dict[str, Any]
) -> None:
    net.answers[KEYS]["keys"].insert(0, strange)
    assert issuer.claims(signed(good(clock)))
    assert issuer.claims(signed(good(clock), key=OTHER, kid=strange["kid"])) is None


def test_the_endpoints_are_those_of_the_configuration(issuer: OidcIssuer) -> None:
    found = issuer.endpoints()
    assert (found.authorization, found.token) == (f"{ISSUER}/authorize", f"{ISSUER}/token")


@pytest.mark.parametrize("answer", [b"", b"HELLO\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"x" * 70_000])
def test_an_address_that_speaks_no_http_is_out_of_reach(answer: bytes) -> None:
    with answering(answer) as port, pytest.raises(Unavailable):
        fetch_json(f"http://127.0.0.1:{port}/")


def test_an_answer_that_breaks_off_is_out_of_reach() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"
    with answering(head) as port, pytest.raises(Unavailable):
        fetch_json(f"http://127.0.0.1:{port}/")
