"""An issuer whose addresses are answered here, and tokens that it signs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from comfyline.service.errors import Unavailable

ISSUER, KEYS = "https://issuer.example", "https://issuer.example/keys"
WELL_KNOWN = f"{ISSUER}/.well-known/openid-configuration"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def published(kid: str, algorithm: type[Any], key: Any, **more: Any) -> dict[str, Any]:
    return {**json.loads(algorithm.to_jwk(key.public_key())), "kid": kid, **more}


def published_rsa(kid: str, **more: Any) -> dict[str, Any]:
    return published(kid, RSAAlgorithm, RSA, **more)


def published_ec(kid: str, **more: Any) -> dict[str, Any]:
    return published(kid, ECAlgorithm, EC, **more)


def described(issuer: str) -> dict[str, Any]:
    """The issuer's configuration."""
    return {
        "issuer": issuer,
        "jwks_uri": KEYS,
        "authorization_endpoint": f"{ISSUER}/authorize",
        "token_endpoint": f"{ISSUER}/token",
    }


@dataclass
class Net:
    """What the issuer's addresses answer, and which were asked for."""

    answers: dict[str, Any] = field(
        default_factory=lambda: {
            WELL_KNOWN: described(ISSUER),
            KEYS: {"keys": [published_rsa("rsa"), published_ec("ec")]},
        }
    )
    asked: list[str] = field(default_factory=list)

    def fetch(self, url: str) -> Mapping[str, Any]:
        self.asked.append(url)
        if url not in self.answers:
            raise Unavailable(url)
        found: Mapping[str, Any] = self.answers[url]
        return found


def signed(claims: Mapping[str, Any], *, key: Any = RSA, alg: str = "RS256", **header: Any) -> str:
    headers = {"kid": {"RS256": "rsa", "ES256": "ec"}.get(alg, "rsa"), **header}
    return jwt.encode(dict(claims), key, algorithm=alg, headers=headers)
