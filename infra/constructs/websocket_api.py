"""The public WebSocket API: its routes, its authorizer, and the address of its connections."""

from __future__ import annotations

from collections.abc import Mapping

from aws_cdk import Stack
from aws_cdk import aws_apigatewayv2 as gw
from aws_cdk.aws_apigatewayv2_authorizers import WebSocketLambdaAuthorizer
from aws_cdk.aws_apigatewayv2_integrations import WebSocketLambdaIntegration
from aws_cdk.aws_lambda import IFunction
from constructs import Construct

from infra.deployment import Deployment
from infra.functions import FUNCTIONS

STAGE = "live"
# The account's quota of new connections each second. It has a throttle of its own, so that clients
# that all connect again do not delay the messages of those that are connected.
MAX_CONNECTS = 500
# Below the account's own limit (5,000), which the HTTP API and the posts to sockets share.
MAX_BURST = 1000


class JobsWebSocketApi(Construct):
    """The WebSocket API with its one stage.

    It has no access log: API Gateway accepts one for WebSockets only if the account has a logging
    role, which applies to the whole account and so is not for this deployment to set. No route has
    a response: the functions answer clients by posts to their connections.
    """

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        deployment: Deployment,
        domain: gw.DomainName | None = None,
    ) -> None:
        super().__init__(scope, name)
        self.api = gw.WebSocketApi(
            self,
            "Api",
            api_name=f"{deployment.cluster_name}-websocket",
            description=f"Comfyline's WebSocket API, stage {deployment.stage}",
            route_selection_expression="$request.body.action",
        )
        rate = deployment.requests_per_second  # each message calls a function, as a request does
        self.stage = gw.WebSocketStage(
            self,
            "Stage",
            web_socket_api=self.api,
            stage_name=STAGE,
            auto_deploy=True,
            throttle=gw.ThrottleSettings(rate_limit=rate, burst_limit=min(rate, MAX_BURST)),
            domain_mapping=gw.DomainMappingOptions(domain_name=domain) if domain else None,
        )

        template = self.stage.node.default_child
        assert isinstance(template, gw.CfnStage)
        connects = min(rate, MAX_CONNECTS)
        template.route_settings = {
            "$connect": {"ThrottlingRateLimit": connects, "ThrottlingBurstLimit": connects}
        }

    @property
    def sockets_arn(self) -> str:
        """The connections of this stage, to which functions post and which they close."""
        return Stack.of(self).format_arn(
            service="execute-api",
            resource=self.api.api_id,
            resource_name=f"{STAGE}/*/@connections/*",
        )

    def add_routes(self, functions: Mapping[str, IFunction]) -> None:
        """Connect the routes. The functions are made after the API, because they need its id."""
        # No identity source: API Gateway would require it of every caller, and a browser, which
        # cannot set a header, brings a socket pass instead. The authorizer refuses a caller that
        # has neither.
        authorizer = WebSocketLambdaAuthorizer(
            "AuthorizeSocket", functions["AuthorizeSocket"], identity_source=[]
        )
        for row in FUNCTIONS.values():
            for route in row.socket_routes:
                made = self.api.add_route(
                    route,
                    integration=WebSocketLambdaIntegration("Integration", functions[row.name]),
                    authorizer=authorizer if route == "$connect" else None,
                )
                if route == "$connect":
                    self.stage.node.add_dependency(made)  # because the stage's throttle names it
