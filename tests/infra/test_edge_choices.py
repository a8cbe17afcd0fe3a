"""The section [edge] of the deployment file: choices that do not agree are refused."""

from __future__ import annotations

from typing import Any

import pytest

from infra.deployment_file import WrongDeployment
from tests.infra.conftest import EDGE, deployment, without_web_acl
from tests.infra.templates import Templates

DOMAIN = EDGE["edge"]["domain"]
CERTIFICATE = EDGE["edge"]["certificate_arn"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"edge": {"domain": DOMAIN}}, "domain and certificate_arn must be given together"),
        ({"edge": {"certificate_arn": CERTIFICATE}}, "must be given together"),
        ({"edge": {"web_acl": True}}, "need domain"),
        (without_web_acl(domain="https://comfy.example.com"), "edge.domain must be a text such as"),
        (
            without_web_acl(certificate_arn="arn:aws:acm:eu-west-1:123456789012:certificate/0"),
            "edge.certificate_arn must be the ARN of a certificate in us-east-1",
        ),
        (
            without_web_acl(
                web_acl=True,
                web_acl_arn="arn:aws:wafv2:us-east-1:123456789012:global/webacl/team/0a1b",
            ),
            "must not name another one",
        ),
        (without_web_acl(secret_version=0), "edge.secret_version must be a whole number from 1"),
        (
            {
                **EDGE,
                "api": {
                    "domain": "api.example.com",
                    "socket_domain": "live.example.com",
                    "certificate_arn": "arn:aws:acm:eu-west-1:123456789012:certificate/0",
                },
            },
            "test.toml: edge.domain replaces api.domain",
        ),
        (
            {**EDGE, "api": {"public_url": "https://other.example.com"}},
            "remove api.public_url",
        ),
        ({**EDGE, "target": "local"}, "an emulator has no CloudFront"),
        ({**EDGE, "target": "localstack"}, "an emulator has no CloudFront"),
    ],
)
def test_choices_that_do_not_agree_are_refused(table: dict[str, Any], message: str) -> None:
    with pytest.raises(WrongDeployment) as refused:
        deployment(**table)
    assert message in str(refused.value)


def test_without_the_section_there_is_no_edge(aws: Templates, local: Templates) -> None:
    for templates in (aws, local):
        assert not templates.edge["Resources"]
        assert not templates.firewall["Resources"]
        assert "EDGE_SECRETS" not in templates.environment("AuthorizeHttp")
