"""The public WebSocket API: its routes, who may connect, and the way back to its clients."""

from __future__ import annotations

from collections.abc import Mapping

from aws_cdk import Stack
from aws_cdk import aws_apigatewayv2 as gw
from aws_cdk.aws_apigatewayv2_authorizers import WebSocketLambdaAuthorizer
from aws_cdk.aws_apigatewayv2_integrations import WebSocketLambdaIntegration
from aws_cdk.aws_lambda import IFunction
from constructs import Construct

STAGE = "live"
# What clients say: few messages, each a subscription or a ping.
THROTTLE = gw.ThrottleSettings(rate_limit=500, burst_limit=500)
# What a client may send; $default answers everything else with an error message.
CLIENT_ROUTES = ("subscribe", "unsubscribe", "ping", "$default")


class JobsWebSocketApi(Construct):
    """The WebSocket API with its one stage.

    It has no access log: API Gateway takes one for WebSockets only where the account has a logging
    role, which is not this deployment's to set. No route has a response: clients are answered by
    posts to their connection.
    """

    def __init__(self, scope: Construct, name: str, *, domain: gw.DomainName | None = None) -> None:
        super().__init__(scope, name)
        self.api = gw.WebSocketApi(self, "Api", route_selection_expression="$request.body.action")
        self.stage = gw.WebSocketStage(
            self,
            "Stage",
            web_socket_api=self.api,
            stage_name=STAGE,
            auto_deploy=True,
            throttle=THROTTLE,
            domain_mapping=gw.DomainMappingOptions(domain_name=domain) if domain else None,
        )

    @property
    def sockets_arn(self) -> str:
        """The connections of this stage, to post to, look at or close."""
        return Stack.of(self).format_arn(
            service="execute-api",
            resource=self.api.api_id,
            resource_name=f"{STAGE}/*/@connections/*",
        )

    def add_routes(self, functions: Mapping[str, IFunction]) -> None:
        """Connect the routes; the functions are made after the API since they must know its id."""
        # No identity source: it would be required of every caller, and a browser, which cannot set
        # a header, comes with a ticket instead. The authorizer refuses who has neither.
        authorizer = WebSocketLambdaAuthorizer(
            "AuthorizeSocket", functions["AuthorizeSocket"], identity_source=[]
        )
        self._add("$connect", functions["SocketConnect"], authorizer)
        self._add("$disconnect", functions["SocketDisconnect"])
        for route in CLIENT_ROUTES:
            self._add(route, functions["SocketSubscribe"])

    def _add(
        self,
        route: str,
        function: IFunction,
        authorizer: gw.IWebSocketRouteAuthorizer | None = None,
    ) -> None:
        self.api.add_route(
            route,
            integration=WebSocketLambdaIntegration("Integration", function),
            authorizer=authorizer,
        )
