"""Tokens as the documentation of providers describes them, with the section that accepts them.

The shapes are those that docs/sign-in.md has a column for. Each is signed, and each is read with
the rules that a deployment file gives the functions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import pytest

from comfyline.adapters.oidc.issuer import OidcIssuer
from comfyline.service.access.keys import ApiKey
from comfyline.service.access.people import People, SignInRules
from infra.sections.sign_in import SignIn
from tests.integration.people.issuers import (
    EC,
    KEYS,
    RSA,
    Net,
    described,
    published_ec,
    published_rsa,
    signed,
)
from tests.support.builders import FrozenClock

COGNITO = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_Ab12Cd34E"
TENANT = "3338040d-6c67-4c5b-b112-36a304b66dad"
ENTRA, ENTRA_V1 = (
    f"https://login.microsoftonline.com/{TENANT}/v2.0",
    f"https://sts.windows.net/{TENANT}/",
)
ENTRA_APP, ENTRA_API = (
    "6cb04018-a3f5-46a7-b995-940c78f5aef3",
    "11112222-bbbb-3333-cccc-4444dddd5555",
)
OKTA, OKTA_ORG = "https://acme.okta.com/oauth2/default", "https://acme.okta.com"
AUTH0, AUTH0_API = "https://acme.eu.auth0.com/", "https://comfyline.example.com"
AUTH0_PERSON = "auth0|6553da60a54af58e29493993"  # no name that an owner can have
KEYCLOAK = "https://id.example.com/realms/design"
GOOGLE = "https://accounts.google.com"
ADFS = "https://adfs.example.com/adfs"
PERSON = "a7c1e2f0-0000-4000-8000-123456789abc"

COGNITO_SECTION: dict[str, Any] = {
    "issuer": COGNITO,
    "client_id": "1example23456789",
    "audiences": ("2programs3456789",),
    "scopes_claim": "cognito:groups",
    "scopes": {"makers": "jobs"},
}
ENTRA_SECTION: dict[str, Any] = {
    "issuer": ENTRA,
    "client_id": ENTRA_APP,
    "audiences": (ENTRA_API,),
    "owner_claim": "oid",
    "name_claim": "preferred_username",
    "scopes_claim": "roles",
    "scopes": {"Comfyline.Use": "jobs"},
}
OKTA_SECTION: dict[str, Any] = {
    "issuer": OKTA,
    "client_id": "0oa1b2c3d4",
    "audiences": ("api://default",),
    "owner_claim": "comfyline_owner",
    "scopes_claim": "groups",
    "scopes": {"Comfy Users": "jobs"},
}
AUTH0_SECTION: dict[str, Any] = {
    "issuer": AUTH0,
    "client_id": "K1AUPhZq8mRi0Q0p",
    "audiences": (AUTH0_API,),
    "scopes_claim": "https://comfyline.example.com/roles",
    "scopes": {"maker": "jobs"},
}
KEYCLOAK_SECTION: dict[str, Any] = {
    "issuer": KEYCLOAK,
    "client_id": "console",
    "audiences": ("comfyline-api",),
    "name_claim": "preferred_username",
    "scopes_claim": "realm_access.roles",
    "scopes": {"maker": "jobs"},
}


@dataclass(frozen=True)
class Sent:
    """A token of a provider, and what it gives."""

    section: dict[str, Any]
    claims: dict[str, Any]
    owner: str
    name: str = ""
    header: dict[str, Any] = field(default_factory=dict)
    alg: str = "RS256"
    limit: int | None = None


ACCEPTED: dict[str, Sent] = {
    "Cognito, ID token": Sent(
        COGNITO_SECTION | {"limit_claims": {"max_active_jobs": "custom:max_jobs"}},
        {
            "sub": PERSON,
            "aud": "1example23456789",
            "token_use": "id",
            "cognito:groups": ["makers", "staff"],
            "cognito:username": "ada",
            "email": "ada@example.com",
            "email_verified": True,
            "custom:max_jobs": "7",
            "auth_time": 1676312777,
            "origin_jti": "6b7a1cd0",
            "event_id": "64f513be",
        },
        f"sso.{PERSON}",
        "ada@example.com",
        limit=7,
    ),
    "Cognito, access token of a person": Sent(
        COGNITO_SECTION,
        {
            "sub": PERSON,
            "client_id": "1example23456789",
            "token_use": "access",
            "scope": "openid phone profile email",
            "cognito:groups": ["makers"],
            "username": "ada",
            "version": 2,
        },
        f"sso.{PERSON}",
    ),
    "Cognito, access token of a program": Sent(
        COGNITO_SECTION | {"scopes_claim": "scope", "scopes": {"comfyline/jobs": "jobs"}},
        {
            "sub": "2programs3456789",
            "client_id": "2programs3456789",
            "token_use": "access",
            "scope": "comfyline/read comfyline/jobs",
            "version": 2,
        },
        "sso.2programs3456789",
    ),
    "Entra, ID token": Sent(
        ENTRA_SECTION,
        {
            "ver": "2.0",
            "sub": "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ",
            "aud": ENTRA_APP,
            "oid": PERSON,
            "tid": TENANT,
            "preferred_username": "ada@example.com",
            "roles": ["Comfyline.Use"],
            "aio": "Df2UVXL1ix",
            "uti": "qjR",
            "nonce": "123523",
        },
        f"sso.{PERSON}",
        "ada@example.com",
    ),
    "Entra, access token of a person": Sent(
        ENTRA_SECTION | {"scopes_claim": "scp", "scopes": {"jobs.write": "jobs"}},
        {
            "ver": "2.0",
            "sub": "HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ",
            "aud": ENTRA_API,
            "azp": ENTRA_APP,
            "azpacr": "0",
            "oid": PERSON,
            "tid": TENANT,
            "scp": "jobs.read jobs.write",
        },
        f"sso.{PERSON}",
    ),
    "Entra, access token of a program": Sent(
        ENTRA_SECTION,
        {
            "ver": "2.0",
            "sub": "beefbeef",
            "aud": ENTRA_API,
            "azp": "99999999-0000-0000-0000-000000000000",
            "idtyp": "app",
            "oid": "beefbeef",
            "tid": TENANT,
            "roles": ["Comfyline.Use"],
        },
        "sso.beefbeef",
    ),
    "Entra, access token of version 1": Sent(
        ENTRA_SECTION | {"issuer": ENTRA_V1, "audiences": (f"api://{ENTRA_API}",)},
        {
            "ver": "1.0",
            "sub": "beefbeef",
            "aud": f"api://{ENTRA_API}",
            "appid": "99999999-0000-0000-0000-000000000000",
            "idp": ENTRA_V1,
            "oid": "beefbeef",
            "roles": ["Comfyline.Use"],
        },
        "sso.beefbeef",
    ),
    "Okta, ID token": Sent(
        OKTA_SECTION,
        {
            "ver": 1,
            "sub": "00uid4BxXw6I6TV4m0g3",
            "aud": "0oa1b2c3d4",
            "comfyline_owner": "00uid4BxXw6I6TV4m0g3",
            "email": "ada@example.com",
            "groups": ["Everyone", "Comfy Users"],
            "amr": ["pwd"],
            "idp": "00ok1u7AsAkrwdZL3z0g3",
        },
        "sso.00uid4BxXw6I6TV4m0g3",
        "ada@example.com",
    ),
    "Okta, access token of the same person": Sent(
        OKTA_SECTION,
        {
            "ver": 1,
            "sub": "ada@example.com",
            "uid": "00uid4BxXw6I6TV4m0g3",
            "aud": "api://default",
            "cid": "0oa1b2c3d4",
            "comfyline_owner": "00uid4BxXw6I6TV4m0g3",
            "scp": ["openid", "jobs"],
            "groups": ["Comfy Users"],
        },
        "sso.00uid4BxXw6I6TV4m0g3",
    ),
    "Okta, access token of a program": Sent(
        OKTA_SECTION | {"owner_claim": "sub", "scopes_claim": "scp", "scopes": {"jobs": "jobs"}},
        {
            "ver": 1,
            "sub": "0oa9program",
            "aud": "api://default",
            "cid": "0oa9program",
            "scp": ["jobs"],
        },
        "sso.0oa9program",
    ),
    "Okta, ID token of the org's server": Sent(
        OKTA_SECTION | {"issuer": OKTA_ORG, "audiences": (), "owner_claim": "sub"},
        {"sub": "00uid4BxXw6I6TV4m0g3", "aud": "0oa1b2c3d4", "groups": ["Comfy Users"]},
        "sso.00uid4BxXw6I6TV4m0g3",
    ),
    "Auth0, ID token": Sent(
        AUTH0_SECTION,
        {
            "sub": AUTH0_PERSON,
            "aud": "K1AUPhZq8mRi0Q0p",
            "email": "ada@example.com",
            "email_verified": True,
            "https://comfyline.example.com/roles": ["maker"],
            "sid": "x",
        },
        f"sso-{sha256(AUTH0_PERSON.encode()).hexdigest()[:40]}",
        "ada@example.com",
    ),
    "Auth0, access token of a person": Sent(
        AUTH0_SECTION,
        {
            "sub": AUTH0_PERSON,
            "aud": [AUTH0_API, f"{AUTH0}userinfo"],
            "azp": "K1AUPhZq8mRi0Q0p",
            "scope": "openid profile",
            "https://comfyline.example.com/roles": ["maker"],
        },
        f"sso-{sha256(AUTH0_PERSON.encode()).hexdigest()[:40]}",
    ),
    "Auth0, access token of a program": Sent(
        AUTH0_SECTION | {"scopes_claim": "permissions", "scopes": {"make:jobs": "jobs"}},
        {
            "sub": "awZfdIir8YFdGZWk@clients",
            "aud": AUTH0_API,
            "client_id": "awZfdIir8YFdGZWk",
            "scope": "make:jobs",
            "permissions": ["make:jobs"],
            "jti": "x",
        },
        "sso.awZfdIir8YFdGZWk@clients",
        header={"typ": "at+jwt"},
    ),
    "Keycloak, ID token": Sent(
        KEYCLOAK_SECTION,
        {
            "typ": "ID",
            "sub": PERSON,
            "aud": "console",
            "azp": "console",
            "realm_access": {"roles": ["offline_access", "maker"]},
            "preferred_username": "ada",
            "email_verified": False,
            "acr": "1",
        },
        f"sso.{PERSON}",
        "ada",
    ),
    "Keycloak, access token": Sent(
        KEYCLOAK_SECTION
        | {"scopes_claim": "resource_access.comfyline-api.roles", "audiences": ("comfyline-api",)},
        {
            "typ": "Bearer",
            "sub": PERSON,
            "aud": ["comfyline-api", "account"],
            "azp": "console",
            "realm_access": {"roles": ["offline_access"]},
            "resource_access": {
                "comfyline-api": {"roles": ["maker"]},
                "account": {"roles": ["manage-account"]},
            },
            "scope": "openid profile email",
        },
        f"sso.{PERSON}",
        header={"typ": "JWT"},
    ),
    "Keycloak, service account with ES256": Sent(
        KEYCLOAK_SECTION,
        {
            "typ": "Bearer",
            "sub": PERSON,
            "aud": "comfyline-api",
            "azp": "render-farm",
            "client_id": "render-farm",
            "realm_access": {"roles": ["maker"]},
            "preferred_username": "service-account-render-farm",
        },
        f"sso.{PERSON}",
        "service-account-render-farm",
        alg="ES256",
    ),
    "Keycloak, groups with their paths": Sent(
        KEYCLOAK_SECTION | {"scopes_claim": "groups", "scopes": {"/design/makers": "jobs"}},
        {"sub": PERSON, "aud": "console", "groups": ["/design/makers"]},
        f"sso.{PERSON}",
    ),
    "Google, ID token of a person": Sent(
        {
            "issuer": GOOGLE,
            "audiences": ("https://comfyline.example.com",),
            "required_claims": {"hd": "example.com"},
            "default_scopes": "jobs",
        },
        {
            "sub": "110169484474386276334",
            "aud": "https://comfyline.example.com",
            "azp": "1234987819200.apps.googleusercontent.com",
            "hd": "example.com",
            "email": "ada@example.com",
            "email_verified": True,
        },
        "sso.110169484474386276334",
        "ada@example.com",
    ),
    "Google, ID token of a service account": Sent(
        {
            "issuer": GOOGLE,
            "audiences": ("https://comfyline.example.com",),
            "owner_claim": "email",
            "owners": {"farm@acme.iam.gserviceaccount.com": "farm"},
            "default_scopes": "jobs",
        },
        {
            "sub": "105023456789012345678",
            "aud": "https://comfyline.example.com",
            "azp": "105023456789012345678",
            "email": "farm@acme.iam.gserviceaccount.com",
            "email_verified": True,
        },
        "farm",
        "farm@acme.iam.gserviceaccount.com",
    ),
    "AD FS, a single group as a text": Sent(
        {
            "issuer": ADFS,
            "client_id": "console",
            "scopes_claim": "groups",
            "scopes": {"Comfy Users": "jobs"},
        },
        {"sub": "S-1-5-21", "aud": "console", "groups": "Comfy Users"},
        "sso.S-1-5-21",
    ),
}

REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "Cognito, access token of another client": (
        COGNITO_SECTION,
        {
            "sub": PERSON,
            "client_id": "another",
            "token_use": "access",
            "cognito:groups": ["makers"],
        },
    ),
    "Entra, token for Microsoft Graph": (
        ENTRA_SECTION,
        {
            "sub": "x",
            "aud": "00000003-0000-0000-c000-000000000000",
            "oid": PERSON,
            "roles": ["Comfyline.Use"],
        },
    ),
    "Entra, too many groups": (
        ENTRA_SECTION | {"scopes_claim": "groups"},
        {
            "sub": "x",
            "aud": ENTRA_APP,
            "oid": PERSON,
            "_claim_names": {"groups": "src1"},
            "_claim_sources": {"src1": {"endpoint": "https://graph.windows.net/x"}},
        },
    ),
    "Entra, a token of another tenant": (
        ENTRA_SECTION,
        {
            "iss": "https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0",
            "sub": "x",
            "aud": ENTRA_APP,
            "oid": PERSON,
            "roles": ["Comfyline.Use"],
        },
    ),
    "Auth0, access token that another client got": (
        AUTH0_SECTION,
        {
            "sub": "auth0|1",
            "aud": [AUTH0_API, f"{AUTH0}userinfo"],
            "azp": "another",
            "https://comfyline.example.com/roles": ["maker"],
        },
    ),
    "Auth0, without the trailing slash": (
        AUTH0_SECTION,
        {
            "iss": AUTH0.rstrip("/"),
            "sub": "auth0|1",
            "aud": AUTH0_API,
            "https://comfyline.example.com/roles": ["maker"],
        },
    ),
    "Keycloak, access token without an audience mapper": (
        KEYCLOAK_SECTION,
        {
            "typ": "Bearer",
            "sub": PERSON,
            "aud": "account",
            "azp": "console",
            "realm_access": {"roles": ["maker"]},
        },
    ),
    "Keycloak, logout token": (
        KEYCLOAK_SECTION,
        {
            "typ": "Logout",
            "sub": PERSON,
            "aud": "console",
            "sid": "x",
            "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
            "realm_access": {"roles": ["maker"]},
        },
    ),
    "AD FS, a group whose name ends like another": (
        ACCEPTED["AD FS, a single group as a text"].section | {"scopes": {"Users": "jobs"}},
        {"sub": "S-1-5-21", "aud": "console", "groups": "Domain Users"},
    ),
}


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


def key_of(section: dict[str, Any], token: str, clock: FrozenClock) -> ApiKey | None:
    """What a deployment with that section makes of the token."""
    rules = SignInRules.parse(SignIn(**section).as_setting)
    assert rules is not None
    net = Net(
        {f"{rules.issuer.rstrip('/')}/.well-known/openid-configuration": described(rules.issuer)}
    )
    # Entra names no algorithm, and most providers publish keys that are not used yet.
    spare = [published_rsa("next"), published_rsa("enc", use="enc", alg="RSA-OAEP")]
    net.answers[KEYS] = {"keys": [*spare, published_rsa("rsa", use="sig"), published_ec("ec")]}
    return People(OidcIssuer(rules, clock, net.fetch), rules, clock).key_of(token)


def token_of(sent: dict[str, Any], issuer: str, clock: FrozenClock, **more: Any) -> str:
    now = int(clock().timestamp())
    return signed({"iss": issuer, "iat": now, "nbf": now, "exp": now + 3600, **sent}, **more)


@pytest.mark.parametrize("kind", ACCEPTED)
def test_a_documented_token_is_accepted(kind: str, clock: FrozenClock) -> None:
    sent = ACCEPTED[kind]
    signing = {"alg": sent.alg, "key": EC if sent.alg == "ES256" else RSA, **sent.header}
    key = key_of(
        sent.section, token_of(sent.claims, sent.section["issuer"], clock, **signing), clock
    )
    assert key is not None
    assert (key.owner, key.name, key.scopes) == (sent.owner, sent.name, {"jobs"})
    assert key.limits.max_active_jobs == sent.limit


@pytest.mark.parametrize("kind", REFUSED)
def test_a_documented_token_for_others_is_refused(kind: str, clock: FrozenClock) -> None:
    section, claims = REFUSED[kind]
    assert key_of(section, token_of(claims, section["issuer"], clock), clock) is None
