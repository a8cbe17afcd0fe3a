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

from infra.constructs.function import LOG_RETENTION
from infra.functions import ROUTES

# A disabled key still works for this long. Without the cache, each request would cost one more read
# of the keys table.
AUTHORIZER_CACHE = Duration.seconds(30)
# Below the account's own limit (10,000/s, burst 5,000), which the posts to sockets share.
THROTTLE = gw.ThrottleSettings(rate_limit=2000, burst_limit=1000)

# The headers that web pages of other origins may send and read, beside those that every page may.
CORS_REQUEST_HEADERS = ("idempotency-key", "prefer", "x-request-id")
CORS_ANSWER_HEADERS = (
    "idempotent-replayed",
    "location",
    "preference-applied",
    "retry-after",
    "x-request-id",
)

# Neither query string nor headers are logged, because they may hold a socket pass or a cursor.
_LOGGED = {
    "requestId": "$context.requestId",
    "requestTime": "$context.requestTime",
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
    # Credentials stay off: a page sets the header with the key itself, and no cookie carries a key.
    if not origins:
        return None
    return gw.CorsPreflightOptions(
        allow_origins=list(origins),
        allow_methods=[gw.CorsHttpMethod.GET, gw.CorsHttpMethod.POST, gw.CorsHttpMethod.DELETE],
        allow_headers=["authorization", "content-type", *CORS_REQUEST_HEADERS],
        expose_headers=list(CORS_ANSWER_HEADERS),
        max_age=Duration.hours(1),
    )


def http_api(
    scope: Construct,
    *,
    functions: Mapping[str, IFunction],
    allowed_origins: Sequence[str],
    domain: gw.DomainName | None,
) -> gw.HttpApi:
    """The HTTP API with its routes and its one stage."""
    own = Construct(scope, "Http")
    api = gw.HttpApi(
        own,
        "Api",
        cors_preflight=_cors(allowed_origins),
        create_default_stage=False,  # our own stage has the throttle and the log
        # A request that no route takes gets our problem+json, and needs no key for it.
        default_integration=HttpLambdaIntegration("Integration", functions["UnknownRoute"]),
    )
    _add_routes(api, functions)
    _add_stage(own, api, domain)
    return api


def _add_routes(api: gw.HttpApi, functions: Mapping[str, IFunction]) -> None:
    authorizer = HttpLambdaAuthorizer(
        "AuthorizeHttp",
        functions["AuthorizeHttp"],
        response_types=[HttpLambdaResponseType.SIMPLE],
        identity_source=["$request.header.Authorization"],
        results_cache_ttl=AUTHORIZER_CACHE,
    )
    for route, row in ROUTES.items():
        api.add_routes(
            path=route.path,
            methods=[gw.HttpMethod(route.method)],
            integration=HttpLambdaIntegration("Integration", functions[row.name]),
            authorizer=gw.HttpNoneAuthorizer() if route.is_open else authorizer,
        )


def _add_stage(scope: Construct, api: gw.HttpApi, domain: gw.DomainName | None) -> None:
    log_group = logs.LogGroup(
        scope, "AccessLog", retention=LOG_RETENTION, removal_policy=RemovalPolicy.DESTROY
    )
    stage = gw.HttpStage(
        scope,
        "Stage",
        http_api=api,
        stage_name="$default",
        auto_deploy=True,
        throttle=THROTTLE,
        domain_mapping=gw.DomainMappingOptions(domain_name=domain) if domain else None,
    )
    template = stage.node.default_child
    assert isinstance(template, gw.CfnStage)
    template.access_log_settings = gw.CfnStage.AccessLogSettingsProperty(
        destination_arn=log_group.log_group_arn, format=json.dumps(_LOGGED)
    )
