"""What takes the requests of callers: the functions and the two APIs."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from infra.sections.section import Section

# API Gateway's own limit, which all APIs of an account and the posts to sockets share.
MAX_REQUESTS_PER_SECOND = 10_000

# The calls that the rows of functions reserve, and 100 that Lambda keeps for all others. The
# preflight knows the same number.
MIN_TO_RESERVE = 214

Origin = Annotated[str, Field(pattern=r"^(\*|https?://[^/*\s]+)$")]


class Functions(Section):
    """The Lambda functions."""

    architecture: Literal["arm64", "x86_64", "host"] = Field(
        default="arm64",
        description="processor of the functions; host: that of the machine that deploys",
    )
    log_level: Literal["info", "debug"] = Field(
        default="info", description="debug adds one log line for each call"
    )
    call_log: bool = Field(
        default=False,
        description="whether Lambda logs start, end and duration of each call; calls that fail or "
        "time out, and what functions log themselves, are always logged",
    )
    wake_scaler: bool = Field(
        default=True,
        description="whether a new job wakes the scaler of an idle fleet at once; otherwise the "
        "first worker is ordered within a minute",
    )
    concurrency: int = Field(
        default=10,
        ge=10,
        le=100_000,
        description="calls of functions that may run at once, at most the account's limit, which "
        "`comfyline admin preflight` shows; new accounts have 10",
    )
    reserve: bool | None = Field(
        default=None,
        description="whether authorizers, settlement, sweeper and scaler have calls that no other "
        "function can take, so that no flood of requests stops them",
        json_schema_extra={
            "by_default": f"true from a `functions.concurrency` of {MIN_TO_RESERVE}"
        },
    )
    snap_start: bool = Field(
        default=False,
        description="whether the functions that API Gateway calls start from snapshots (Lambda "
        "SnapStart) instead of importing their code; at published prices about $86 a month, and "
        "$0.07 for 1,000 starts",
    )
    s3_public_endpoint: str | None = Field(
        default=None,
        pattern=r"^https?://[^/\s]+$",
        description="where callers reach an emulator's S3, if its functions use another address",
        examples=["http://127.0.0.1:4566"],
    )

    @model_validator(mode="after")
    def _account_can_reserve(self) -> Self:
        if self.reserve and self.concurrency < MIN_TO_RESERVE:
            raise ValueError(f"reserve needs a concurrency of at least {MIN_TO_RESERVE}")
        return self

    @property
    def reserves(self) -> bool:
        """Whether functions have calls of their own."""
        return self.concurrency >= MIN_TO_RESERVE if self.reserve is None else self.reserve


class Api(Section):
    """The two APIs."""

    allowed_origins: tuple[Origin, ...] = Field(
        default=(),
        description="origins of web pages that may call the API; `*` allows every page",
        json_schema_extra={"allowed": "a list of origins, such as `https://app.example.com`"},
    )
    requests_per_second: int | None = Field(
        default=None,
        ge=1,
        le=MAX_REQUESTS_PER_SECOND,
        description="requests of all callers together, and as many messages of sockets; more are "
        "refused with 429",
        json_schema_extra={"by_default": "10 for each of `functions.concurrency`, at most 2,000"},
    )
    open_requests_per_second: int = Field(
        default=20,
        ge=1,
        le=MAX_REQUESTS_PER_SECOND,
        description="requests without a key, for each of the open routes",
    )
    access_log: bool = Field(
        default=True, description="whether the HTTP API logs each request: address, owner, status"
    )
    max_waits: int | None = Field(
        default=None,
        ge=0,
        le=1000,
        description="posts that wait for their job at one time; others are answered at once",
        json_schema_extra={"by_default": "a tenth of `functions.concurrency`, at most 100"},
    )
    domain: str | None = Field(
        default=None, description="custom domain of the HTTP API", examples=["api.example.com"]
    )
    socket_domain: str | None = Field(
        default=None,
        description="custom domain of the WebSocket API; it must differ from `api.domain`",
        examples=["live.example.com"],
    )
    certificate_arn: str | None = Field(
        default=None,
        description="ACM certificate for both domains, in the deployment's region",
        examples=["arn:aws:acm:eu-west-1:123456789012:certificate/..."],
    )

    public_url: str | None = Field(
        default=None,
        pattern=r"^https://[A-Za-z0-9.-]+(:\d{1,5})?(/[A-Za-z0-9._~-]+)*$",
        description="where callers reach the HTTP API if a proxy or CDN is in front of it; the "
        "links in answers of Comfy API v2 begin with it",
        json_schema_extra={
            "allowed": "a URL such as `https://comfy.example.com`, without a slash at its end",
            "by_default": "`edge.domain` or the custom domain, else the address of the API",
        },
    )

    @model_validator(mode="after")
    def _domains_are_complete(self) -> Self:
        given = [self.domain, self.socket_domain, self.certificate_arn]
        if any(given) and not all(given):
            raise ValueError("domain, socket_domain and certificate_arn must be given together")
        if self.domain is not None and self.domain == self.socket_domain:
            raise ValueError("socket_domain must differ from domain")
        return self
