"""No request goes round the edge: the secret header, on every route of the table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import pytest

from comfyline.adapters.memory.access import InMemoryKeyStore
from comfyline.service.access.edge import HEADER
from functions import authorize
from functions._wiring import Wiring
from infra.functions import FUNCTIONS, ROUTES
from tests.infra.conftest import deployment, without_web_acl
from tests.infra.templates import Json, Templates, function_in, named, resources
from tests.support import events
from tests.support.builders import NOW, FrozenClock
from tests.support.gateway import AlteredAws

ROUTE_KEYS = [*(route.key for route in ROUTES), "$default"]


@dataclass(frozen=True)
class Gate:
    """What lies before the functions: API Gateway, as documented, and our own authorizers.

    API Gateway answers 401 to a request that lacks an identity source of its route's authorizer,
    and 403 if the authorizer refuses. Parameter Store has each version of the secret as `secret-4`.
    """

    templates: Templates

    @cached_property
    def _routes(self) -> dict[str, Json]:
        every = resources(self.templates.api, "AWS::ApiGatewayV2::Route").values()
        return {route["RouteKey"]: route for route in every}

    def _authorizer(self, route: str) -> Json | None:
        reference = self._routes[route].get("AuthorizerId")
        if reference is None:
            return None
        authorizers = resources(self.templates.api, "AWS::ApiGatewayV2::Authorizer")
        return authorizers[reference["Ref"]]

    def _wiring(self, function: str) -> Wiring:
        environ = {
            name: re.sub(r"\{\{resolve:ssm:/comfyline/test/edge-secret:(\d+)\}\}", r"secret-\1", v)
            for name, v in self.templates.environment(function).items()
        }
        aws = AlteredAws(environ, None, keys=InMemoryKeyStore())
        return Wiring(environ, FrozenClock(NOW), aws=aws)

    def http(self, route: str, **headers: str) -> int:
        """The status of the refusal; 0 if the function of the route is called."""
        authorizer = self._authorizer(route)
        if authorizer is None:
            return 0
        names = [s.removeprefix("$request.header.").lower() for s in authorizer["IdentitySource"]]
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if not given.keys() >= set(names):
            return 401
        event = {
            **events.load("authorize_http"),
            "headers": given,
            "identitySource": [given[name] for name in names],
        }
        function = function_in(self.templates.render(authorizer["AuthorizerUri"]))
        assert FUNCTIONS[function].handler == "authorize.http_handler"
        answer = authorize.http_handler(event, None, self._wiring(function))
        return 0 if answer["isAuthorized"] else 403

    def socket(self, headers: Mapping[str, str]) -> str:
        """The effect of the policy that the authorizer of $connect answers with."""
        event = {
            **events.load("authorize_socket"),
            "headers": headers,
            "queryStringParameters": None,
        }
        answer = authorize.socket_handler(event, None, self._wiring("AuthorizeSocket"))
        return str(answer["policyDocument"]["Statement"][0]["Effect"])


KEY = {"authorization": "Bearer cl_0123456789abcdef_wrong"}


@pytest.mark.parametrize("route", ROUTE_KEYS)
class TestEveryRoute:
    """Of the whole table, open routes and the answer of no route included."""

    def test_refuses_a_request_that_has_gone_round(self, edge: Templates, route: str) -> None:
        gate = Gate(edge)
        assert gate.http(route, **KEY) == 401
        assert gate.http(route, **KEY, x_comfyline_edge="guessed") == 403
        assert gate.http(route, **KEY, x_comfyline_edge="") == 403
        assert gate.http(route, **KEY, x_comfyline_edge="secret-4,secret-3") == 403

    def test_takes_a_request_of_the_edge_with_either_secret(
        self, edge: Templates, route: str
    ) -> None:
        gate = Gate(edge)
        assert gate.http(route, **KEY, x_comfyline_edge="secret-4") == 0
        assert gate.http(route, **KEY, x_comfyline_edge="secret-3") == 0
        assert gate.http(route, **KEY, x_comfyline_edge="secret-2") == 403

    def test_needs_no_header_without_an_edge(self, aws: Templates, route: str) -> None:
        gate = Gate(aws)
        assert gate.http(route, **KEY) == 0
        # The header means nothing then, not even as a copy of the identity source.
        assert gate.http(route, **KEY, x_comfyline_edge=KEY["authorization"]) == 0


def test_an_open_route_needs_the_edges_header_only(edge: Templates) -> None:
    open_routes = [route.key for route in ROUTES if not route.has_authorizer]
    assert len(open_routes) > 5
    for route in (*open_routes, "$default"):
        assert Gate(edge).http(route, x_comfyline_edge="secret-4") == 0


def test_a_response_for_open_routes_is_cached_for_all_callers_and_names_none() -> None:
    environ = {"EDGE_SECRETS": "secret-1"}
    keys = InMemoryKeyStore()
    wiring = Wiring(environ, FrozenClock(NOW), aws=AlteredAws(environ, None, keys=keys))
    event = {
        **events.load("authorize_http"),
        "headers": {**KEY, HEADER: "secret-1"},
        "identitySource": ["secret-1"],
    }
    assert authorize.http_handler(event, None, wiring) == {"isAuthorized": True}


@pytest.mark.parametrize("name", [HEADER, HEADER.upper(), HEADER.title()])
def test_a_socket_needs_the_header(
    edge: Templates, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """In any spelling. A key that is not known is refused for its own reason after that."""

    def reason(**headers: str) -> str:
        caplog.clear()
        assert Gate(edge).socket({"Authorization": KEY["authorization"], **headers}) == "Deny"
        return caplog.messages[-1]

    assert reason() == "edge gone round"
    assert reason(**{name: "secret-2"}) == "edge gone round"
    assert reason(**{name: "secret-3"}) == "caller refused"
    assert reason(**{name: "secret-4"}) == "caller refused"


def test_callers_can_change_to_the_edge_before_it_is_required(optional_edge: Templates) -> None:
    templates = optional_edge
    assert "EDGE_SECRETS" not in templates.environment("AuthorizeHttp")
    assert {Gate(templates).http(route, **KEY) for route in ROUTE_KEYS} == {0}
    assert templates.api["Outputs"]["HttpApiUrl"]["Value"] == "https://comfy.example.com"
    assert named(templates.edge, "AWS::CloudFront::Distribution", "Distribution")


def test_the_first_secret_has_none_before_it() -> None:
    only_one = deployment(**without_web_acl(secret_version=1)).accepted_edge_secrets
    assert only_one == "{{resolve:ssm:/comfyline/test/edge-secret:1}}"


def test_only_the_authorizers_know_the_secrets(edge: Templates) -> None:
    """CloudFormation resolves at most 60 references in a template."""
    knowing = {name for name in edge.functions() if "EDGE_SECRETS" in edge.environment(name)}
    assert knowing == {"AuthorizeHttp", "AuthorizeSocket"}
    assert str(edge.api).count("{{resolve:") == 4
