"""The public HTTP API: its routes, its authorizer, its throttle and its access log."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_apigatewayv2 as gw
from aws_cdk import aws_logs as logs
from aws_cdk.aws_apigatewayv2_authorizers import HttpLambdaAuthorizer, HttpLambdaResponseType
from aws_cdk.aws_apigatewayv2_integrations import HttpLambdaIntegration
from aws_cdk.aws_lambda import IFunction
from constructs import Construct

from comfyline.service.access.edge import HEADER as EDGE_HEADER
from infra.constructs.function import LOG_RETENTION
from infra.deployment import Deployment
from infra.functions import ROUTES

# A disabled key still works for this long. Without the cache, each request would cost one more read
# of the keys table.
AUTHORIZER_CACHE = Duration.seconds(30)
# The authorizer of open routes has one response for all that the edge sends.
EDGE_CACHE = Duration.minutes(5)
# Below the account's own limit (5,000), which the posts to sockets share.
MAX_BURST = 1000

# The headers that web pages of other origins may send and read, beside those that every page may.
CORS_REQUEST_HEADERS = ("idempotency-key", "prefer", "x-request-id")
CORS_ANSWER_HEADERS = (
    "idempotent-replayed",
    "location",
    "preference-applied",
    "retry-after",
    "x-request-id",
)

# Neither query string nor headers are logged, because they may hold a socket pass or a cursor. The
# time is not either, because a log line has one.
_LOGGED = {
    "requestId": "$context.requestId",
    "ip": "$context.identity.sourceIp",
    "routeKey": "$context.routeKey",
    "path": "$context.path",
    "owner": "$context.authorizer.owner",
    "status": "$context.status",
    "responseLength": "$context.responseLength",
    "responseLatency": "$context.responseLatency",
    "integrationError": "$context.integrationErrorMessage",
    "authorizerError": "$context.authorizer.error",
}


def _cors(origins: Sequence[str]) -> gw.CorsPreflightOptions | None:
    # Credentials stay off: a page of another origin sets the header itself, and the cookie of a
    # session is for the console's own origin alone.
    if not origins:
        return None
    return gw.CorsPreflightOptions(
        allow_origins=list(origins),
        allow_methods=[
            gw.CorsHttpMethod(name) for name in ("GET", "HEAD", "POST", "PUT", "DELETE")
        ],
        allow_headers=["authorization", "content-type", *CORS_REQUEST_HEADERS],
        expose_headers=list(CORS_ANSWER_HEADERS),
        max_age=Duration.hours(1),
    )


def http_api(
    scope: Construct,
    *,
    functions: Mapping[str, IFunction],
    deployment: Deployment,
    domain: gw.DomainName | None,
) -> gw.HttpApi:
    """The HTTP API with its routes and its one stage."""
    own = Construct(scope, "Http")
    of_open_routes = _open_authorizer(functions, deployment)
    api = gw.HttpApi(
        own,
        "Api",
        api_name=f"{deployment.cluster_name}-http",
        description=f"Comfyline's HTTP API, stage {deployment.stage}",
        cors_preflight=_cors(deployment.api.allowed_origins),
        # With a custom domain, the default address would bypass what protects the domain.
        disable_execute_api_endpoint=domain is not None,
        create_default_stage=False,  # our own stage has the throttle and the log
        # A request that no route takes gets our problem+json, and needs no key for it.
        default_integration=HttpLambdaIntegration("Integration", functions["UnknownRoute"]),
        default_authorizer=of_open_routes,
    )
    routes = _add_routes(api, functions, of_open_routes, deployment)
    stage = _add_stage(own, api, deployment, domain)
    stage.node.add_dependency(*routes)  # because the stage's throttles name them
    return api


def _open_authorizer(
    functions: Mapping[str, IFunction], deployment: Deployment
) -> gw.IHttpRouteAuthorizer:
    """The authorizer of routes that need no key: that of the edge, where the edge is required.

    API Gateway itself answers 401 to a request that lacks an identity source.
    """
    if not deployment.requires_edge:
        return gw.HttpNoneAuthorizer()
    return _authorizer("AuthorizeEdge", functions, [f"$request.header.{EDGE_HEADER}"], EDGE_CACHE)


def _authorizer(
    name: str, functions: Mapping[str, IFunction], sources: list[str], cache: Duration
) -> HttpLambdaAuthorizer:
    return HttpLambdaAuthorizer(
        name,
        functions["AuthorizeHttp"],
        response_types=[HttpLambdaResponseType.SIMPLE],
        identity_source=sources,
        results_cache_ttl=cache,
    )


def _add_routes(
    api: gw.HttpApi,
    functions: Mapping[str, IFunction],
    of_open_routes: gw.IHttpRouteAuthorizer,
    deployment: Deployment,
) -> list[gw.HttpRoute]:
    sources = ["$request.header.Authorization"]
    if deployment.requires_edge:  # as an identity source, it is also part of the cache's key
        sources.append(f"$request.header.{EDGE_HEADER}")
    authorizer = _authorizer("AuthorizeHttp", functions, sources, AUTHORIZER_CACHE)
    routes = []
    for route, row in ROUTES.items():
        routes += api.add_routes(
            path=route.path,
            methods=[gw.HttpMethod(route.method)],
            integration=HttpLambdaIntegration("Integration", functions[row.name]),
            authorizer=authorizer if route.has_authorizer else of_open_routes,
        )
    return routes


def _add_stage(
    scope: Construct, api: gw.HttpApi, deployment: Deployment, domain: gw.DomainName | None
) -> gw.HttpStage:
    rate = deployment.requests_per_second
    stage = gw.HttpStage(
        scope,
        "Stage",
        http_api=api,
        stage_name="$default",
        auto_deploy=True,
        throttle=gw.ThrottleSettings(rate_limit=rate, burst_limit=min(rate, MAX_BURST)),
        domain_mapping=gw.DomainMappingOptions(domain_name=domain) if domain else None,
    )
    template = stage.node.default_child
    assert isinstance(template, gw.CfnStage)
    if deployment.api.access_log:
        template.access_log_settings = _access_log(scope, deployment)
    template.route_settings = _open_throttles(deployment.api.open_requests_per_second)
    return stage


def _access_log(scope: Construct, deployment: Deployment) -> gw.CfnStage.AccessLogSettingsProperty:
    log_group = logs.LogGroup(
        scope,
        "AccessLog",
        # For names with this prefix, API Gateway adds nothing to the account's policy for logs,
        # whose size is limited.
        log_group_name=f"/aws/vendedlogs/{deployment.cluster_name}/http",
        retention=LOG_RETENTION,
        removal_policy=RemovalPolicy.DESTROY,
    )
    return gw.CfnStage.AccessLogSettingsProperty(
        destination_arn=log_group.log_group_arn, format=json.dumps(_LOGGED, separators=(",", ":"))
    )


def _open_throttles(rate: int) -> Mapping[str, Mapping[str, int]]:
    """Throttles of the routes without a key, so that a flood of calls to them stays cheap.

    A page of /docs asks for five files at once, so the burst is greater than the rate.
    """
    routes = [route.key for route in ROUTES if route.is_open]
    throttle = {"ThrottlingRateLimit": rate, "ThrottlingBurstLimit": 2 * rate}
    return dict.fromkeys((*routes, "$default"), throttle)
