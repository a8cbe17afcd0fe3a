"""The public HTTP API: every route, who may call it, how fast, and what is logged of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import jsii
from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_apigateway as rest
from aws_cdk import aws_apigatewayv2 as gw
from aws_cdk import aws_logs as logs
from aws_cdk.aws_apigatewayv2_authorizers import HttpLambdaAuthorizer, HttpLambdaResponseType
from aws_cdk.aws_apigatewayv2_integrations import HttpLambdaIntegration
from aws_cdk.aws_lambda import IFunction
from constructs import Construct

from infra.constructs.function import LOG_RETENTION

# How long a disabled key still works, against one more table read for each request.
AUTHORIZER_CACHE = Duration.seconds(30)
# Below the account's own limit (10,000/s, burst 5,000), which the callbacks to sockets share.
THROTTLE = gw.ThrottleSettings(rate_limit=2000, burst_limit=1000)

# (method, path) of the routes that need a key, and the function behind each.
PROTECTED_ROUTES: Mapping[tuple[gw.HttpMethod, str], str] = {
    (gw.HttpMethod.POST, "/api/v1/jobs"): "SubmitJob",
    (gw.HttpMethod.GET, "/api/v1/jobs"): "ListJobs",
    (gw.HttpMethod.GET, "/api/v1/jobs/{job_id}"): "GetJob",
    (gw.HttpMethod.DELETE, "/api/v1/jobs/{job_id}"): "CancelJob",
    (gw.HttpMethod.POST, "/api/v1/jobs/{job_id}/retry"): "RetryJob",
    (gw.HttpMethod.GET, "/api/v1/jobs/{job_id}/events"): "ListEvents",
    (gw.HttpMethod.POST, "/api/v1/generate"): "Generate",
    (gw.HttpMethod.POST, "/api/v1/uploads"): "CreateUpload",
    (gw.HttpMethod.POST, "/api/v1/ws-tickets"): "CreateSocketPass",
    (gw.HttpMethod.GET, "/api/v1/models"): "ListModels",
    (gw.HttpMethod.GET, "/api/v1/usage"): "GetUsage",
    (gw.HttpMethod.GET, "/metrics"): "GetMetrics",
}
OPEN_ROUTES: Mapping[tuple[gw.HttpMethod, str], str] = {
    (gw.HttpMethod.GET, "/healthz"): "Health",
    (gw.HttpMethod.GET, "/openapi.json"): "ShowOpenapi",
    (gw.HttpMethod.GET, "/docs"): "ShowDocs",
}
# What an answer to a wrong method says is there.
ROUTE_LIST = ",".join(
    f"{method.value} {path}" for method, path in (*OPEN_ROUTES, *PROTECTED_ROUTES)
)

# What pages of other origins may send and read beside what every page may.
CORS_REQUEST_HEADERS = ("idempotency-key", "prefer", "x-request-id")
CORS_ANSWER_HEADERS = (
    "idempotent-replayed",
    "location",
    "preference-applied",
    "retry-after",
    "x-request-id",
)

# No query string and no header: a ticket or a cursor is nobody's business.
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


@jsii.implements(gw.IAccessLogSettings)
class _AccessLog:
    """Where and how requests are logged; CDK takes it only as an object of this interface."""

    def __init__(self, log_group: logs.ILogGroup) -> None:
        self._destination = gw.LogGroupLogDestination(log_group)
        self._format = rest.AccessLogFormat.custom(json.dumps(_LOGGED))

    @property
    def destination(self) -> gw.IAccessLogDestination:
        return self._destination

    @property
    def format(self) -> rest.AccessLogFormat:
        return self._format


def _cors(origins: Sequence[str]) -> gw.CorsPreflightOptions | None:
    # A key travels in a header that a page must set itself, never in a cookie: no credentials.
    if not origins:
        return None
    return gw.CorsPreflightOptions(
        allow_origins=list(origins),
        allow_methods=[gw.CorsHttpMethod.GET, gw.CorsHttpMethod.POST, gw.CorsHttpMethod.DELETE],
        allow_headers=["authorization", "content-type", *CORS_REQUEST_HEADERS],
        expose_headers=list(CORS_ANSWER_HEADERS),
        max_age=Duration.hours(1),
    )


class JobsHttpApi(Construct):
    """The HTTP API with its one stage."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        functions: Mapping[str, IFunction],
        allowed_origins: Sequence[str] = (),
        domain: gw.DomainName | None = None,
    ) -> None:
        super().__init__(scope, name)
        self._functions = functions
        self.api = gw.HttpApi(
            self,
            "Api",
            cors_preflight=_cors(allowed_origins),
            create_default_stage=False,  # its own stage below has the throttle and the log
            # Unknown routes and methods get our problem+json, without a key.
            default_integration=self._integration("UnknownRoute"),
        )
        self._add_routes()
        log_group = logs.LogGroup(
            self, "AccessLog", retention=LOG_RETENTION, removal_policy=RemovalPolicy.DESTROY
        )
        self.stage = gw.HttpStage(
            self,
            "Stage",
            http_api=self.api,
            stage_name="$default",
            auto_deploy=True,
            throttle=THROTTLE,
            access_log_settings=_AccessLog(log_group),
            domain_mapping=gw.DomainMappingOptions(domain_name=domain) if domain else None,
        )

    def _add_routes(self) -> None:
        authorizer = HttpLambdaAuthorizer(
            "AuthorizeHttp",
            self._functions["AuthorizeHttp"],
            response_types=[HttpLambdaResponseType.SIMPLE],
            identity_source=["$request.header.Authorization"],
            results_cache_ttl=AUTHORIZER_CACHE,
        )
        for (method, path), function in PROTECTED_ROUTES.items():
            self._add(method, path, function, authorizer)
        for (method, path), function in OPEN_ROUTES.items():
            self._add(method, path, function, gw.HttpNoneAuthorizer())

    def _add(
        self, method: gw.HttpMethod, path: str, function: str, authorizer: gw.IHttpRouteAuthorizer
    ) -> None:
        self.api.add_routes(
            path=path,
            methods=[method],
            integration=self._integration(function),
            authorizer=authorizer,
        )

    def _integration(self, function: str) -> HttpLambdaIntegration:
        return HttpLambdaIntegration("Integration", self._functions[function])
