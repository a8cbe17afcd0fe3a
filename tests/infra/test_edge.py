"""The edge: what CloudFront serves from where, and how."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from comfyline.contract.console_page import COMMON, page_policy
from comfyline.service.access.edge import HEADER
from infra.declarations import Route
from infra.functions import ROUTES
from tests.infra.conftest import EDGE, deployment, synthesise, without_web_acl
from tests.infra.templates import (
    Json,
    Templates,
    listed,
    named,
    only,
    resources,
    statements,
)

# Of AWS's managed policies, by the names that CloudFront gives them.
CACHING_DISABLED = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
ALL_VIEWER_EXCEPT_HOST_HEADER = "b689b0a8-53d0-40ab-baf2-68738e2966ac"

DOMAIN = "comfy.example.com"
DOCUMENTS = ("/docs", "/docs/x", "/openapi.json", "/asyncapi.json")  # which the API serves


# --- the distribution -----------------------------------------------------------------------------


def config(templates: Templates) -> Json:
    distribution = named(templates.edge, "AWS::CloudFront::Distribution", "Distribution")
    found: Json = distribution["DistributionConfig"]
    return found


def behavior(templates: Templates, path: str) -> Json:
    """The behavior that CloudFront chooses for a path: the first whose pattern matches."""
    found = config(templates)
    for candidate in found["CacheBehaviors"]:
        if fnmatchcase(path, candidate["PathPattern"]):
            chosen: Json = candidate
            return chosen
    default: Json = found["DefaultCacheBehavior"]
    return default


def origin(templates: Templates, path: str) -> str:
    """The host from which a path is served, rendered."""
    wanted = behavior(templates, path)["TargetOriginId"]
    (found,) = (o for o in config(templates)["Origins"] if o["Id"] == wanted)
    assert "OriginPath" not in found
    return templates.render(found["DomainName"])


def path_of(route: Route) -> str:
    """A path that the route takes."""
    return re.sub(r"\{\w+\}", "x", route.path)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.key)
def test_every_route_is_served_and_nothing_of_callers_is_cached(
    edge: Templates, route: Route
) -> None:
    path = path_of(route)
    chosen = behavior(edge, path)
    if route.path.startswith("/console"):
        assert origin(edge, path).startswith("ConsoleFilesBucket")
        return
    assert re.match(r"HttpApi\w+\.execute-api\.", origin(edge, path))
    assert route.method in chosen["AllowedMethods"]
    if path not in DOCUMENTS:
        assert chosen["CachePolicyId"] == CACHING_DISABLED
        # Keys, cookies and queries reach the API, and its own host.
        assert chosen["OriginRequestPolicyId"] == ALL_VIEWER_EXCEPT_HOST_HEADER
        assert chosen["ViewerProtocolPolicy"] == "https-only"


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/api/v1/sessions"), ("GET", "/api/v1/jobs/x/artifacts/0"), ("GET", "/api/v9/new")],
)
def test_a_cookie_passes_to_every_path_below_api(edge: Templates, method: str, path: str) -> None:
    """And its answer back: nothing is cached there, so `Set-Cookie` reaches one caller only.

    A request has its page's `Origin`, which is the edge's, and API Gateway's `Host`. So functions
    compare the origin with PUBLIC_URL.
    """
    chosen = behavior(edge, path)
    assert method in chosen["AllowedMethods"]
    assert chosen["OriginRequestPolicyId"] == ALL_VIEWER_EXCEPT_HOST_HEADER
    assert chosen["CachePolicyId"] == CACHING_DISABLED


def test_no_error_is_cached(edge: Templates) -> None:
    """By default each is for 10 s, by the path alone: for all callers."""
    errors = config(edge)["CustomErrorResponses"]
    # That CloudFront caches, but 416, which it does not.
    cached = {400, 403, 404, 405, 414, 500, 501, 502, 503, 504}
    assert {error["ErrorCode"] for error in errors} == cached
    assert all(error.keys() == {"ErrorCode", "ErrorCachingMinTTL"} for error in errors)
    assert {error["ErrorCachingMinTTL"] for error in errors} == {0}


def test_sockets_are_opened_at_the_stage(edge: Templates) -> None:
    stage = named(edge.api, "AWS::ApiGatewayV2::Stage", "WebSocketStage")["StageName"]
    assert re.match(r"WebSocketApi\w+\.execute-api\.", origin(edge, f"/{stage}"))
    chosen = behavior(edge, f"/{stage}")
    assert chosen["CachePolicyId"] == CACHING_DISABLED
    assert chosen["OriginRequestPolicyId"] == ALL_VIEWER_EXCEPT_HOST_HEADER  # Sec-WebSocket-*
    for name in ("CreateSocketPass", "ShowAsyncapi", "ShowConsole"):
        assert edge.environment(name)["WEBSOCKET_URL"] == f"wss://{DOMAIN}/{stage}"


def test_connections_are_not_reached_through_the_edge(edge: Templates) -> None:
    """Functions post to sockets at the API itself, whose id they know."""
    assert origin(edge, "/live/@connections/x").startswith("HttpApi")
    assert edge.environment("PushUpdates")["WEBSOCKET_API_ID"].startswith("WebSocketApi")


def test_callers_are_told_the_edges_address(edge: Templates) -> None:
    outputs = edge.api["Outputs"]
    assert outputs["HttpApiUrl"]["Value"] == f"https://{DOMAIN}"
    assert outputs["WebSocketUrl"]["Value"] == f"wss://{DOMAIN}/live"
    assert edge.environment("SubmitComfyJob")["PUBLIC_URL"] == f"https://{DOMAIN}"
    assert config(edge)["Aliases"] == [DOMAIN]
    assert "EdgeTarget" in edge.edge["Outputs"]
    assert not named(edge.api, "AWS::ApiGatewayV2::Api", "HttpApi").get("DisableExecuteApiEndpoint")


def test_connections_are_encrypted_on_both_ways(edge: Templates) -> None:
    certificate = config(edge)["ViewerCertificate"]
    assert certificate["AcmCertificateArn"] == EDGE["edge"]["certificate_arn"]
    assert certificate["MinimumProtocolVersion"] == "TLSv1.2_2021"
    for found in (
        o["CustomOriginConfig"] for o in config(edge)["Origins"] if "CustomOriginConfig" in o
    ):
        assert found["OriginProtocolPolicy"] == "https-only"
        assert found["OriginSSLProtocols"] == ["TLSv1.2"]
        assert found["OriginReadTimeout"] > 30  # API Gateway gives up after 30 s


def test_the_edge_sends_the_newest_secret_and_the_apis_accept_the_last_too(edge: Templates) -> None:
    """The APIs are deployed first, so a deployment with the next version is a rotation."""
    reference = "{{resolve:ssm:/comfyline/test/edge-secret:%d}}"
    sent = [o["OriginCustomHeaders"] for o in config(edge)["Origins"] if "S3OriginConfig" not in o]
    assert sent == [[{"HeaderName": HEADER, "HeaderValue": reference % 4}]] * 2
    accepted = edge.environment("AuthorizeHttp")["EDGE_SECRETS"]
    assert accepted == f"{reference % 4},{reference % 3}"
    assert {"comfyline-test-api", "comfyline-test-firewall"} <= edge.dependencies("edge")
    assert edge.edge["Outputs"]["EdgeSecretVersion"]["Value"] == "4"


def test_documents_are_cached_as_long_as_they_say(edge: Templates) -> None:
    policies = resources(edge.edge, "AWS::CloudFront::CachePolicy")
    for path in (*DOCUMENTS, "/console"):
        policy = policies[behavior(edge, path)["CachePolicyId"]["Ref"]]["CachePolicyConfig"]
        assert (policy["MinTTL"], policy["DefaultTTL"]) == (0, 0)
        parameters = policy["ParametersInCacheKeyAndForwardedToOrigin"]
        assert parameters["CookiesConfig"] == {"CookieBehavior": "none"}
        assert parameters["HeadersConfig"] == {"HeaderBehavior": "none"}
        assert parameters["QueryStringsConfig"] == {"QueryStringBehavior": "none"}
        assert parameters["EnableAcceptEncodingGzip"] is True


# --- the console ----------------------------------------------------------------------------------


class TestConsole:
    def test_only_the_distribution_reads_the_private_bucket(self, edge: Templates) -> None:
        bucket = only(resources(edge.edge, "AWS::S3::Bucket"))
        assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
        policy = only(resources(edge.edge, "AWS::S3::BucketPolicy"))["PolicyDocument"]
        allowed = [s for s in policy["Statement"] if s["Effect"] == "Allow"]
        (statement,) = allowed
        # With s3:ListBucket, S3 answers 404 for a file that is not there, and else 403.
        assert statement["Action"] == ["s3:GetObject", "s3:ListBucket"]
        assert statement["Principal"] == {"Service": "cloudfront.amazonaws.com"}
        source = edge.render(statement["Condition"]["StringEquals"]["AWS:SourceArn"])
        assert re.search(r":distribution/Distribution\w+$", source)

    def test_cloudfront_can_read_it_with_a_key_of_the_account_too(self, edge: Templates) -> None:
        bucket = only(resources(edge.edge, "AWS::S3::Bucket"))
        (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        assert rule["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
        group = only(resources(edge.edge, "AWS::Logs::LogGroup"))
        assert group["KmsKeyId"] == EDGE["encryption"]["key_arn"]

    def test_files_never_change_and_the_page_is_asked_for_each_time(self, edge: Templates) -> None:
        filled = resources(edge.edge, "Custom::CDKBucketDeployment").values()
        files, page = sorted(filled, key=lambda f: "content-type" in f["SystemMetadata"])
        year = "public, max-age=31536000, immutable"
        assert files["SystemMetadata"] == {"cache-control": year}
        assert files["DestinationBucketKeyPrefix"] == "console"
        html = {"cache-control": "no-cache", "content-type": "text/html; charset=utf-8"}
        assert page["SystemMetadata"] == html
        # A page that is open may still load a file of an earlier deployment.
        assert {files["Prune"], page["Prune"]} == {False}

    def test_the_page_is_written_after_its_files(self, edge: Templates) -> None:
        made = {
            name: resource.get("DependsOn", [])
            for name, resource in edge.edge["Resources"].items()
            if resource["Type"] == "Custom::CDKBucketDeployment"
        }
        (page,) = (name for name in made if "Page" in name)
        (files,) = (name for name in made if "Page" not in name)
        assert files in made[page]

    def test_it_has_the_headers_of_the_function(self, edge: Templates) -> None:
        policies = resources(edge.edge, "AWS::CloudFront::ResponseHeadersPolicy")
        for path in ("/console", "/console/index-0a1b2c.js"):
            chosen = policies[behavior(edge, path)["ResponseHeadersPolicyId"]["Ref"]]
            found = chosen["ResponseHeadersPolicyConfig"]
            security = found["SecurityHeadersConfig"]
            policy = edge.render(security["ContentSecurityPolicy"]["ContentSecurityPolicy"])
            bucket = re.search(r"https://(Artifacts\w+)\.s3\.AWS::Region\.AWS::URLSuffix ", policy)
            assert bucket is not None
            issuers = ("https://id.example.com",)  # at which people sign in
            assert policy == page_policy((bucket[0].strip(), f"wss://{DOMAIN}"), issuers)
            assert "frame-ancestors 'none'" in policy
            assert security["FrameOptions"]["FrameOption"] == "DENY"
            assert security["ContentTypeOptions"] == {"Override": True}
            assert security["ReferrerPolicy"]["ReferrerPolicy"] == COMMON["referrer-policy"]
            custom = {h["Header"]: h["Value"] for h in found["CustomHeadersConfig"]["Items"]}
            same_origin = "cross-origin-opener-policy"
            assert custom == {same_origin: COMMON[same_origin]}
            assert security["StrictTransportSecurity"]["AccessControlMaxAgeSec"] == 31536000

    def test_the_address_with_a_slash_is_answered_by_the_api(self, edge: Templates) -> None:
        """S3 has no such file; functions/show_console.py leads to the page, with the query."""
        chosen = behavior(edge, "/console/")
        assert origin(edge, "/console/").startswith("HttpApi")
        assert chosen["CachePolicyId"] == CACHING_DISABLED
        assert chosen["OriginRequestPolicyId"] == ALL_VIEWER_EXCEPT_HOST_HEADER
        assert chosen["ViewerProtocolPolicy"] == "redirect-to-https"
        for path in ("/console", "/console/index-0a1b2c.js"):
            assert behavior(edge, path)["AllowedMethods"] == ["GET", "HEAD"]

    def test_the_filling_function_writes_to_this_bucket_only(self, edge: Templates) -> None:
        for _, statement in statements(edge.edge):
            if "s3:PutObject" in listed(statement["Action"]):
                places = {edge.render(place) for place in listed(statement["Resource"])}
                assert all(place.startswith("ConsoleFilesBucket") for place in places)


# --- the web ACL ----------------------------------------------------------------------------------


class TestWebAcl:
    def rules(self, templates: Templates) -> dict[str, Json]:
        acl = only(resources(templates.firewall, "AWS::WAFv2::WebACL"))
        assert acl["Scope"] == "CLOUDFRONT"
        assert acl["DefaultAction"] == {"Allow": {}}
        return {rule["Name"]: rule for rule in acl["Rules"]}

    def test_it_is_made_where_cloudfront_looks_for_it(self, edge: Templates) -> None:
        artifacts = edge.manifest["artifacts"]
        environment = artifacts["comfyline-test-firewall"]["environment"]
        assert environment == "aws://unknown-account/us-east-1"
        reference = config(edge)["WebACLId"]["Fn::GetStackOutput"]
        assert reference["StackName"] == "comfyline-test-firewall"
        assert reference["Region"] == "us-east-1"
        assert reference["OutputName"] in edge.firewall["Outputs"]

    def test_a_flood_of_one_address_is_refused(self, edge: Templates) -> None:
        flood = self.rules(edge)["Floods"]
        assert flood["Action"] == {"Block": {}}
        statement = flood["Statement"]["RateBasedStatement"]
        assert (statement["AggregateKeyType"], statement["Limit"]) == ("IP", 10_000)
        assert statement["EvaluationWindowSec"] == 300

    def test_common_rules_do_not_judge_bodies_and_queries(self, edge: Templates) -> None:
        """A prompt and a filter may say anything; a graph is longer than 8 KB, a code than 2 KB."""
        rule = self.rules(edge)["CommonRules"]
        assert rule["OverrideAction"] == {"None": {}}
        group = rule["Statement"]["ManagedRuleGroupStatement"]
        assert (group["VendorName"], group["Name"]) == ("AWS", "AWSManagedRulesCommonRuleSet")
        counted = {o["Name"]: o["ActionToUse"] for o in group["RuleActionOverrides"]}
        assert all(action == {"Count": {}} for action in counted.values())
        kinds = ("CrossSiteScripting", "EC2MetaDataSSRF", "GenericLFI", "GenericRFI")
        assert set(counted) == {
            *(f"{kind}_{part}" for kind in kinds for part in ("BODY", "QUERYARGUMENTS")),
            *("SizeRestrictions_BODY", "SizeRestrictions_QUERYSTRING"),
            "RestrictedExtensions_QUERYARGUMENTS",
        }

    def test_samples_of_requests_are_not_kept(self, edge: Templates) -> None:
        acl = only(resources(edge.firewall, "AWS::WAFv2::WebACL"))
        for visible in (acl, *acl["Rules"]):
            assert visible["VisibilityConfig"]["SampledRequestsEnabled"] is False

    def test_by_default_there_is_none(self, optional_edge: Templates) -> None:
        assert "WebACLId" not in config(optional_edge)
        assert not resources(optional_edge.firewall, "AWS::WAFv2::WebACL")

    def test_one_of_the_account_can_be_named(self, tmp_path: Path) -> None:
        arn = "arn:aws:wafv2:us-east-1:123456789012:global/webacl/team/0a1b"
        templates = synthesise(tmp_path, deployment(**without_web_acl(web_acl_arn=arn)))
        assert config(templates)["WebACLId"] == arn
