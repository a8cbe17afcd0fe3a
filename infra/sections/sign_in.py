"""The issuer at which people sign in (OpenID Connect), and what its tokens give them."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints, model_validator

from comfyline.service.access.authenticate import OWNER_PATTERN
from comfyline.service.access.slots import Limits
from infra.sections.section import Section

# Lambda's environment variables have 4 KB in all.
MAX_JSON = 2_000
# People make no keys, because these would have no key to end with.
_ALL_SCOPES = frozenset({"jobs", "jobs:read", "admin"})
_LIMITS = {one.name for one in fields(Limits)}
Origin = Annotated[str, StringConstraints(pattern=r"^https?://[^/*\s;,']+$")]
Claim = Annotated[str, StringConstraints(min_length=1, max_length=100)]


class SignIn(Section):
    """Who may sign in without an API key. Without `issuer`, everybody needs one."""

    issuer: str | None = Field(
        default=None,
        # Braces are those of Entra's `{tenantid}`: an issuer of several tenants has no name.
        pattern=r"^(https://[^\s?#{}]+|http://(127\.0\.0\.1|localhost)(:\d+)?(/[^\s?#]*)?)$",
        description="OpenID Connect issuer whose tokens are accepted beside API keys, exactly as "
        "its tokens name it; see docs/sign-in.md",
        examples=["https://login.microsoftonline.com/<tenant>/v2.0"],
    )
    client_id: str | None = Field(
        default=None,
        max_length=200,
        description="id of the console's client at the issuer, a public client with PKCE; it is "
        "an accepted audience too",
        examples=["0oa1b2c3d4"],
    )
    audiences: tuple[Claim, ...] = Field(
        default=(),
        description="further audiences (`aud`) of tokens that are accepted; of Cognito's access "
        "tokens their `client_id`",
        json_schema_extra={"allowed": "a list of texts"},
    )
    origins: tuple[Origin, ...] = Field(
        default=(),
        description="origins of the issuer's endpoints that the console calls, if they differ from "
        "that of `issuer`: the one of its token endpoint",
        json_schema_extra={"allowed": "a list of origins, such as `https://login.example.com`"},
    )
    scope: str = Field(
        default="openid email profile",
        pattern=r"^openid( [^\s]+)*$",
        description="OAuth scopes that the console asks for",
        examples=["openid email"],
    )
    owner_claim: Claim = Field(
        default="sub",
        description="claim that names the owner of a person's jobs. The owner is `sso.` and the "
        "claim's value; `email` counts only if it is verified",
        examples=["sub"],
    )
    owners: dict[str, Annotated[str, StringConstraints(pattern=f"^{OWNER_PATTERN}$")]] = Field(
        default={},
        description="owner for each value of `owner_claim`. With it, other values are refused, and "
        "people may share an owner with API keys",
        examples=[{"team-a": "team-a"}],
    )
    name_claim: Claim = Field(
        default="email", description="claim that is shown as a person's name", examples=["email"]
    )
    default_scopes: str = Field(
        default="",
        description="scopes of every person who can sign in, separated by spaces",
        examples=["jobs"],
    )
    scopes_claim: str | None = Field(
        default=None,
        description="claim whose values give scopes by `scopes`: a list, or one text; `scope` and "
        "`scp` are texts with spaces. Dots lead into a claim: `realm_access.roles`",
        examples=["groups"],
    )
    scopes: dict[str, str] = Field(
        default={},
        description="scopes for each value of `scopes_claim`",
        examples=[{"comfyline-admins": "jobs admin"}],
    )
    required_claims: dict[str, str] = Field(
        default={},
        description="claims that a token must have with these values, also as one of a list",
        examples=[{"hd": "example.com"}],
    )
    limits: dict[str, Annotated[int, Field(ge=1)]] = Field(
        default={},
        description="limits of each person, as of an API key",
        json_schema_extra={"allowed": "a table of numbers such as `{ max_active_jobs = 5 }`"},
    )
    limit_claims: dict[str, str] = Field(
        default={},
        description="claims with which the issuer sets a person's limits, where they are numbers",
        examples=[{"max_active_jobs": "comfyline_jobs"}],
    )
    leeway_seconds: int = Field(
        default=60, ge=0, le=300, description="by how much the issuer's clock may differ"
    )
    session_minutes: int = Field(
        default=720,
        ge=10,
        le=720,
        description="minutes after which a person has to sign in again at the console",
    )

    @model_validator(mode="after")
    def _gives_something(self) -> Self:
        if self.issuer is None:
            return self
        if not (self.client_id or self.audiences):
            raise ValueError(
                "issuer needs client_id or audiences, or tokens for others would count"
            )
        granted = {
            scope for text in (self.default_scopes, *self.scopes.values()) for scope in text.split()
        }
        if not granted or granted - _ALL_SCOPES:
            known = ", ".join(sorted(_ALL_SCOPES))
            raise ValueError(f"issuer needs default_scopes or scopes, of {known}")
        if unknown := {*self.limits, *self.limit_claims} - _LIMITS:
            raise ValueError(f"there are no limits {', '.join(sorted(unknown))}")
        if len(self.as_setting) > MAX_JSON:
            raise ValueError(f"the section has more than {MAX_JSON} characters as JSON")
        return self

    @property
    def page_origins(self) -> tuple[str, ...]:
        """The origins that the console calls at the issuer; none without a client."""
        if self.issuer is None or self.client_id is None:
            return ()
        parts = urlsplit(self.issuer)
        return self.origins or (f"{parts.scheme}://{parts.netloc}",)

    @property
    def as_setting(self) -> str:
        """The section as an environment variable of functions; empty without an issuer."""
        if self.issuer is None:
            return ""
        section = self.model_dump(mode="json", exclude_none=True)
        return json.dumps({**section, "page_origins": self.page_origins}, separators=(",", ":"))
