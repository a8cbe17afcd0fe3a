"""The template of the APIs: routes, authorizers and environment variables."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pytest

from comfyline.contract.comfy_v2.common import PREFIX as COMFY
from comfyline.contract.limits import MAX_WAIT_SECONDS
from comfyline.contract.v1.openapi import OPERATIONS
from infra.functions import FUNCTIONS, ROUTES
from tests.infra.conftest import deployment, synthesise
from tests.infra.templates import (
    Json,
    Templates,
    function_in,
    named,
    own_outputs,
    plain_name,
    resources,
)

# The functions in the stack of the APIs.
ROWS = {name: row for name, row in FUNCTIONS.items() if row.stack == "api"}


def test_http_routes_are_the_operations_of_the_contract(aws: Templates) -> None:
    """A route calls the function of the operation's name, and needs a key unless it is open."""
    documented = {
        f"{method} {path}": (
            operation.id[0].upper() + operation.id[1:],
            "NONE" if operation.is_open else "CUSTOM",
        )
        for (method, path), operation in OPERATIONS.items()
    }
    # A function that serves several routes has a name of its own, as have those of Comfy API v2 and
    # of operators, which may get further routes.
    for route, row in ROUTES.items():
        if len(row.routes) > 1 or route.path.startswith((COMFY, "/api/v1/admin/")):
            documented[route.key] = (row.name, "CUSTOM" if route.has_authorizer else "NONE")
    assert aws.routes("HttpApi") == {**documented, "$default": ("UnknownRoute", "NONE")}


def test_a_wait_ends_before_the_function_and_the_function_before_the_gateway(
    aws: Templates,
) -> None:
    for name in ("SubmitJob", "Generate"):
        assert MAX_WAIT_SECONDS + 3 < aws.functions()[name]["Timeout"] < 30


def test_unknown_route_knows_the_others(aws: Templates) -> None:
    known = aws.environment("UnknownRoute")["ROUTES"].split(",")
    assert sorted(known) == sorted(aws.routes("HttpApi").keys() - {"$default"})


def test_websocket_routes(aws: Templates) -> None:
    assert aws.routes("WebSocketApi") == {
        "$connect": ("SocketConnect", "CUSTOM"),
        "$disconnect": ("SocketDisconnect", "NONE"),
        "subscribe": ("SocketSubscribe", "NONE"),
        "unsubscribe": ("SocketSubscribe", "NONE"),
        "ping": ("SocketSubscribe", "NONE"),
        "$default": ("SocketSubscribe", "NONE"),
    }
    api = named(aws.api, "AWS::ApiGatewayV2::Api", "WebSocketApi")
    assert api["RouteSelectionExpression"] == "$request.body.action"


def test_no_route_answers_on_the_socket_by_itself(aws: Templates) -> None:
    assert not resources(aws.api, "AWS::ApiGatewayV2::RouteResponse")


def test_http_authorizer(aws: Templates) -> None:
    authorizer = named(aws.api, "AWS::ApiGatewayV2::Authorizer", "HttpApiAuthorizeHttp")
    assert function_in(aws.render(authorizer["AuthorizerUri"])) == "AuthorizeHttp"
    assert authorizer["AuthorizerType"] == "REQUEST"
    assert authorizer["EnableSimpleResponses"] is True
    assert authorizer["IdentitySource"] == ["$request.header.Authorization"]
    assert authorizer["AuthorizerResultTtlInSeconds"] == 30


def test_websocket_authorizer_requires_no_single_credential(aws: Templates) -> None:
    name = "WebSocketApiAuthorizeSocket"
    authorizer = named(aws.api, "AWS::ApiGatewayV2::Authorizer", name)
    assert function_in(aws.render(authorizer["AuthorizerUri"])) == "AuthorizeSocket"
    assert authorizer["AuthorizerType"] == "REQUEST"
    assert authorizer.get("IdentitySource", []) == []


def test_gateway_may_invoke_the_functions_of_its_routes(aws: Templates) -> None:
    permissions = resources(aws.api, "AWS::Lambda::Permission").values()
    allowed = {function_in(aws.render(p["FunctionName"])) for p in permissions}
    assert allowed == set(ROWS) - {
        *("PushChunk", "PushUpdates", "SettleJobs", "SweepJobs", "RedriveTickets")
    }
    assert all("SourceArn" in permission for permission in permissions)


def test_stages(aws: Templates) -> None:
    http = named(aws.api, "AWS::ApiGatewayV2::Stage", "HttpStage")
    socket = named(aws.api, "AWS::ApiGatewayV2::Stage", "WebSocketStage")
    assert (http["StageName"], http["AutoDeploy"]) == ("$default", True)
    assert (socket["StageName"], socket["AutoDeploy"]) == ("live", True)
    for stage in (http, socket):
        # The account's limit is shared with the posts to sockets.
        assert 0 < stage["DefaultRouteSettings"]["ThrottlingBurstLimit"] < 5000
        assert 0 < stage["DefaultRouteSettings"]["ThrottlingRateLimit"] < 10_000


@pytest.mark.parametrize(("rate", "connects"), [(50, 50), (2000, 500)])
def test_connects_and_messages_of_sockets_have_throttles_of_their_own(
    tmp_path: Path, rate: int, connects: int
) -> None:
    templates = synthesise(tmp_path, deployment(api={"requests_per_second": rate}))
    stage = named(templates.api, "AWS::ApiGatewayV2::Stage", "WebSocketStage")
    assert stage["DefaultRouteSettings"]["ThrottlingRateLimit"] == rate
    throttle = {"ThrottlingRateLimit": connects, "ThrottlingBurstLimit": connects}
    assert stage["RouteSettings"] == {"$connect": throttle}


def test_access_log_keeps_no_query_and_no_header(aws: Templates) -> None:
    log = named(aws.api, "AWS::ApiGatewayV2::Stage", "HttpStage")["AccessLogSettings"]
    fields = json.loads(log["Format"])
    assert fields["requestId"] == "$context.requestId"
    assert "query" not in log["Format"].lower()
    assert "header" not in log["Format"].lower()


def test_a_deployment_can_do_without_an_access_log(asg: Templates) -> None:
    assert "AccessLogSettings" not in named(asg.api, "AWS::ApiGatewayV2::Stage", "HttpStage")
    groups = resources(asg.api, "AWS::Logs::LogGroup")
    assert not [name for name in groups if "AccessLog" in name]


def test_lambda_logs_a_call_only_where_the_deployment_asks_for_it(
    aws: Templates, asg: Templates
) -> None:
    def configurations(templates: Templates) -> list[Json]:
        functions = [
            f for t in templates.all for f in resources(t, "AWS::Lambda::Function").values()
        ]
        return [{**f["LoggingConfig"], "LogGroup": None} for f in functions]

    assert len(configurations(aws)) == len(FUNCTIONS)
    # Metrics are lines without a level, which count as INFO.
    quiet = {"LogFormat": "JSON", "SystemLogLevel": "WARN", "ApplicationLogLevel": "INFO"}
    assert all(found == {**quiet, "LogGroup": None} for found in configurations(aws))
    assert all(found == {"LogFormat": "Text", "LogGroup": None} for found in configurations(asg))


def test_every_log_group_ends(aws: Templates) -> None:
    groups = [g for t in aws.all for g in resources(t, "AWS::Logs::LogGroup").values()]
    assert len(groups) == len(FUNCTIONS) + 2  # for the access log and the worker
    assert {group["RetentionInDays"] for group in groups} == {30}


def test_every_function_writes_to_a_group_that_ends(aws: Templates) -> None:
    functions = [f for t in aws.all for f in resources(t, "AWS::Lambda::Function").values()]
    assert len(functions) == len(FUNCTIONS)
    for function in functions:
        # Without a group, Lambda makes one that keeps log lines for ever.
        assert plain_name(aws.render(function["LoggingConfig"]["LogGroup"])).endswith("Logs")


def test_an_emulator_does_not_time_out_a_slow_cold_start(local: Templates) -> None:
    timeouts = [function["Timeout"] for function in local.functions().values()]
    assert min(timeouts) == 50
    assert local.functions()["SweepJobs"]["Timeout"] < 60


def test_only_an_emulator_logs_a_line_for_each_call(aws: Templates, local: Templates) -> None:
    for function in ROWS:
        assert aws.environment(function)["LOG_LEVEL"] == "INFO"
        assert local.environment(function)["LOG_LEVEL"] == "DEBUG"


@pytest.mark.parametrize("function", ["AuthorizeHttp", "AuthorizeSocket"])
def test_authorizers_time_out_before_the_gateway_does(aws: Templates, function: str) -> None:
    assert aws.functions()[function]["Timeout"] < 10


def test_every_row_is_a_function(aws: Templates) -> None:
    assert set(aws.functions()) == set(ROWS)


@pytest.mark.parametrize("function", ROWS)
def test_environment_is_the_rows_settings(aws: Templates, function: str) -> None:
    groups, environment = ROWS[function].settings, aws.environment(function)
    common = {"POWERTOOLS_SERVICE_NAME", "LOG_LEVEL"}
    every = [field for group in groups for field in fields(group)]
    unset = {field.name.upper() for field in every if field.default is None}
    assert set(environment) == {field.name.upper() for field in every} - unset | common
    for group in groups:
        read = group.from_environment(environment).to_environment()
        assert read.items() <= environment.items()


def test_with_a_domain_the_api_is_reached_by_it_alone(aws: Templates, asg: Templates) -> None:
    def http(templates: Templates) -> Json:
        return named(templates.api, "AWS::ApiGatewayV2::Api", "HttpApi")

    assert http(asg)["DisableExecuteApiEndpoint"] is True
    assert asg.api["Outputs"]["HttpApiUrl"]["Value"] == "https://api.example.com"
    assert not http(aws).get("DisableExecuteApiEndpoint")


def test_an_emulators_public_address_reaches_the_functions_that_sign(asg: Templates) -> None:
    for function in ("GetJob", "CreateUpload", "PushUpdates"):
        assert asg.environment(function)["S3_PUBLIC_ENDPOINT"] == "http://files.example"


@pytest.mark.parametrize("function", ROWS)
def test_environment_names_the_right_resources(aws: Templates, function: str) -> None:
    right = {
        "JOBS_TABLE": "Jobs",
        "CONNECTIONS_TABLE": "Connections",
        "KEYS_TABLE": "Keys",
        "OWNERS_TABLE": "Owners",
        "ARTIFACTS_BUCKET": "Artifacts",
        "HIGH_QUEUE_URL": "HighQueue",
        "NORMAL_QUEUE_URL": "NormalQueue",
        "LOW_QUEUE_URL": "LowQueue",
        "WEBSOCKET_API_ID": "WebSocketApi",
        "WEBSOCKET_STAGE": "live",
        "GREETER_FUNCTION": "SocketSubscribeFunction",
        "DEAD_LETTER_QUEUE_URL": "DeadLetters",
        "PARKING_QUEUE_URL": "Parking",
        "RELAY_FUNCTION": "PushChunkFunction",
        "SCALER_FUNCTION": "ScaleWorkersFunction",
        "SCALING_TABLE": "Scaling",
    }
    for name, value in aws.environment(function).items():
        assert plain_name(value) == right.get(name, value)


@pytest.mark.parametrize("function", ROWS)
def test_handler_is_the_rows(aws: Templates, function: str) -> None:
    assert aws.functions()[function]["Handler"] == f"functions.{ROWS[function].handler}"


def test_functions_share_one_platform(aws: Templates) -> None:
    functions = aws.functions().values()
    assert {function["Runtime"] for function in functions} == {"python3.13"}
    assert {str(function["Architectures"]) for function in functions} == {"['arm64']"}


def test_outputs(aws: Templates) -> None:
    named_outputs = set(own_outputs(aws.api))
    assert named_outputs == {
        "HttpApiId",
        "HttpApiUrl",
        "ParkingQueueUrl",
        "WebSocketApiId",
        "WebSocketStage",
        "WebSocketUrl",
    }


def test_links_name_the_address_that_callers_use(
    aws: Templates, asg: Templates, local: Templates
) -> None:
    assert asg.environment("SubmitComfyJob")["PUBLIC_URL"] == "https://comfy.example.com/team"
    function = aws.functions()["ReadComfyJobs"]
    assert "ApiEndpoint" in str(function["Environment"]["Variables"]["PUBLIC_URL"])
    # An emulator serves the API below a path that only its user knows.
    assert local.environment("SubmitComfyJob")["PUBLIC_URL"] == ""


def test_socket_passes_name_the_custom_domain(aws: Templates, asg: Templates) -> None:
    def address(templates: Templates) -> object:
        function = templates.functions()["CreateSocketPass"]
        return function["Environment"]["Variables"]["WEBSOCKET_URL"]

    assert address(asg) == "wss://live.example.com"
    assert own_outputs(asg.api)["WebSocketUrl"]["Value"] == "wss://live.example.com"
    assert ".execute-api." in str(address(aws))


def test_web_pages_of_other_origins(aws: Templates, asg: Templates, local: Templates) -> None:
    def cors(templates: Templates) -> Json | None:
        api = named(templates.api, "AWS::ApiGatewayV2::Api", "HttpApi")
        found: Json | None = api.get("CorsConfiguration")
        return found

    assert cors(aws) is None
    allowed = cors(asg)
    assert allowed is not None
    assert allowed["AllowOrigins"] == ["https://app.example.com"]
    assert "authorization" in allowed["AllowHeaders"]
    assert "AllowCredentials" not in allowed
    everyone = cors(local)
    assert everyone is not None
    assert everyone["AllowOrigins"] == ["*"]


def test_custom_domains(aws: Templates, asg: Templates) -> None:
    assert not resources(aws.api, "AWS::ApiGatewayV2::DomainName")
    domains = resources(asg.api, "AWS::ApiGatewayV2::DomainName").values()
    assert {d["DomainName"] for d in domains} == {"api.example.com", "live.example.com"}
    for domain in domains:
        (configuration,) = domain["DomainNameConfigurations"]
        assert configuration["SecurityPolicy"] == "TLS_1_2"
        assert configuration["CertificateArn"].endswith(":certificate/0")
    mapped = {
        (asg.render(m["DomainName"]), plain_name(asg.render(m["Stage"])))
        for m in resources(asg.api, "AWS::ApiGatewayV2::ApiMapping").values()
    }
    assert len(mapped) == 2
    assert {"ApiDomainTarget", "SocketDomainTarget"} <= set(asg.api["Outputs"])


@pytest.mark.parametrize(("variant", "architecture"), [("aws", "arm64"), ("asg", "x86_64")])
def test_architecture(request: pytest.FixtureRequest, variant: str, architecture: str) -> None:
    templates: Templates = request.getfixturevalue(variant)
    found = {tuple(f["Architectures"]) for f in templates.functions().values()}
    assert found == {(architecture,)}
