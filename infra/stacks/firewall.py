"""The web ACL of the edge. It has a stack of its own, because CloudFront's are in one region."""

from __future__ import annotations

from typing import Any

from aws_cdk import CfnOutput, Environment, Stack
from aws_cdk import aws_wafv2 as waf
from constructs import Construct

from infra.deployment import Deployment
from infra.sections.edge import REGION

DESCRIPTION = "Comfyline: the web ACL of the edge"
OUTPUT = "WebAclArn"
# Of the common rules, those that would refuse what callers may send. They only count. A prompt, a
# graph or a note may contain anything, and so may the metadata by which a list is filtered. A graph
# is often larger than 8 KB, and a query than 2 KB: issuers send a person back with a long code.
COUNTED_RULES = (
    "SizeRestrictions_BODY",
    "SizeRestrictions_QUERYSTRING",
    *(
        f"{kind}_{part}"
        for kind in ("CrossSiteScripting", "GenericLFI", "GenericRFI", "EC2MetaDataSSRF")
        for part in ("BODY", "QUERYARGUMENTS")
    ),
    "RestrictedExtensions_QUERYARGUMENTS",
)
WINDOW_SECONDS = 300


class FirewallStack(Stack):
    """AWS's common rules, and a rule against floods from one address."""

    def __init__(self, scope: Construct, name: str, *, deployment: Deployment) -> None:
        super().__init__(
            scope, name, stack_name=name, description=DESCRIPTION, env=Environment(region=REGION)
        )
        acl = waf.CfnWebACL(
            self,
            "WebAcl",
            name=name,
            scope="CLOUDFRONT",
            default_action=waf.CfnWebACL.DefaultActionProperty(allow={}),
            visibility_config=_visible("WebAcl"),
            rules=[_flood_rule(deployment.edge.requests_per_address), _common_rules()],
        )
        CfnOutput(self, OUTPUT, value=acl.attr_arn, description="The web ACL")


def _flood_rule(requests: int) -> waf.CfnWebACL.RuleProperty:
    return waf.CfnWebACL.RuleProperty(
        name="Floods",
        priority=0,  # first, because it costs least
        action=waf.CfnWebACL.RuleActionProperty(block={}),
        visibility_config=_visible("Floods"),
        statement=waf.CfnWebACL.StatementProperty(
            rate_based_statement=waf.CfnWebACL.RateBasedStatementProperty(
                aggregate_key_type="IP", limit=requests, evaluation_window_sec=WINDOW_SECONDS
            )
        ),
    )


def _common_rules() -> waf.CfnWebACL.RuleProperty:
    count = waf.CfnWebACL.RuleActionProperty(count={})
    return waf.CfnWebACL.RuleProperty(
        name="CommonRules",
        priority=1,
        override_action=waf.CfnWebACL.OverrideActionProperty(none={}),
        visibility_config=_visible("CommonRules"),
        statement=waf.CfnWebACL.StatementProperty(
            managed_rule_group_statement=waf.CfnWebACL.ManagedRuleGroupStatementProperty(
                vendor_name="AWS",
                name="AWSManagedRulesCommonRuleSet",
                rule_action_overrides=[
                    waf.CfnWebACL.RuleActionOverrideProperty(name=name, action_to_use=count)
                    for name in COUNTED_RULES
                ],
            )
        ),
    )


def _visible(name: str) -> Any:
    # Samples of requests would show paths and headers of callers to readers of the console.
    return waf.CfnWebACL.VisibilityConfigProperty(
        cloud_watch_metrics_enabled=True, metric_name=name, sampled_requests_enabled=False
    )
