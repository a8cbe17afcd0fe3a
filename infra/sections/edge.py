"""The edge: one name for console, APIs and documents, by CloudFront in front of them."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from infra.sections.section import Section

# CloudFront takes certificates and web ACLs from this region only.
REGION = "us-east-1"
FEWEST_REQUESTS, MOST_REQUESTS = 10, 2_000_000_000  # that AWS WAF allows a rate rule


class Edge(Section):
    """The distribution in front of the APIs, made where `domain` is given."""

    domain: str | None = Field(
        default=None,
        pattern=r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}$",
        description="the one name of console, APIs, documents and sockets, which CloudFront serves "
        "([how](#one-name-at-the-edge))",
        examples=["comfy.example.com"],
    )
    certificate_arn: str | None = Field(
        default=None,
        pattern=rf"^arn:aws:acm:{REGION}:\d{{12}}:certificate/.+$",
        description="ACM certificate for `edge.domain`; CloudFront reads certificates of "
        f"{REGION} only",
        json_schema_extra={"allowed": f"the ARN of a certificate in {REGION}"},
    )
    required: bool = Field(
        default=True,
        description="whether the APIs refuse requests that have not come through the edge; false "
        "while callers change from the earlier addresses to `edge.domain`",
    )
    secret_version: int = Field(
        default=1,
        ge=1,
        le=1_000_000,
        description="version of the secret by which the APIs know the edge; "
        "`comfyline admin edge-secret` makes the next one",
    )
    web_acl: bool = Field(
        default=False,
        description="whether a web ACL of AWS WAF is made, with AWS's common rules and a rule "
        "against floods; $7 a month, and $0.60 for a million requests",
    )
    requests_per_address: int = Field(
        default=10_000,
        ge=FEWEST_REQUESTS,
        le=MOST_REQUESTS,
        description="with `edge.web_acl`: requests of one IP address in five minutes; more are "
        "refused with 403",
    )
    web_acl_arn: str | None = Field(
        default=None,
        pattern=rf"^arn:aws:wafv2:{REGION}:\d{{12}}:global/webacl/.+$",
        description="web ACL that exists, instead of `edge.web_acl`",
        json_schema_extra={"allowed": "the ARN of a web ACL for CloudFront"},
    )

    @model_validator(mode="after")
    def _choices_agree(self) -> Self:
        if (self.domain is None) != (self.certificate_arn is None):
            raise ValueError("domain and certificate_arn must be given together")
        if self.domain is None and (self.web_acl or self.web_acl_arn):
            raise ValueError("web_acl and web_acl_arn need domain, because they protect the edge")
        if self.web_acl and self.web_acl_arn:
            raise ValueError("web_acl makes a web ACL, so web_acl_arn must not name another one")
        return self
