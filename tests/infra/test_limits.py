"""What the functions may use of an account: concurrent calls, memory, requests, retries."""

from __future__ import annotations

from typing import Any

import pytest

from comfyline.operate import plan
from comfyline.service.settings import BudgetSettings
from infra.concurrency import needed_to_reserve, reserved
from infra.declarations import AsyncCalls, EveryMinute
from infra.deployment import Deployment
from infra.deployment_file import WrongDeployment
from infra.functions import FUNCTIONS, ROUTES
from infra.sections import requests
from tests.infra.conftest import deployment
from tests.infra.templates import Json, Templates, function_in, named, plain_name, resources

NEW_ACCOUNT = 10  # concurrent calls of functions, of which the readers of streams get a part
SHARDS = 4  # of a new table's stream
INVOKE = "AWS::Lambda::EventInvokeConfig"
STARTED_ASYNC = {
    row.name
    for row in FUNCTIONS.values()
    if any(isinstance(trigger, AsyncCalls | EveryMinute) for trigger in row.triggers)
}


def functions(templates: Templates) -> dict[str, Json]:
    return {
        plain_name(name).removesuffix("Function"): properties
        for template in templates.all
        for name, properties in resources(template, "AWS::Lambda::Function").items()
    }


def parallel_batches(templates: Templates) -> dict[str, int]:
    mappings = resources(templates.api, "AWS::Lambda::EventSourceMapping").values()
    return {
        function_in(templates.render(m["FunctionName"])): m["ParallelizationFactor"]
        for m in mappings
        if "ParallelizationFactor" in m
    }


def test_no_function_that_is_started_without_an_answer_is_retried(aws: Templates) -> None:
    """By default Lambda calls it twice more, so rounds would overlap, and keeps calls for 6 h."""
    found = {
        function_in(aws.render(config["FunctionName"])): config
        for template in aws.all
        for config in resources(template, INVOKE).values()
    }
    assert found.keys() == STARTED_ASYNC >= {"SweepJobs", "ScaleWorkers", "SocketSubscribe"}
    for config in found.values():
        assert (config["MaximumRetryAttempts"], config["MaximumEventAgeInSeconds"]) == (0, 60)


def test_the_readers_of_streams_leave_a_new_account_some_calls(aws: Templates) -> None:
    batches = parallel_batches(aws)
    assert batches.keys() == {"PushUpdates", "SettleJobs"}
    assert sum(batches.values()) * SHARDS < NEW_ACCOUNT


def test_an_account_with_a_high_limit_reads_streams_in_parallel(asg: Templates) -> None:
    assert parallel_batches(asg) == {"PushUpdates": 10, "SettleJobs": 4}


def test_nothing_is_reserved_where_the_account_cannot(aws: Templates) -> None:
    assert not [n for n, f in functions(aws).items() if "ReservedConcurrentExecutions" in f]


def test_authorizers_and_rounds_are_kept_apart_where_the_account_can(asg: Templates) -> None:
    found = functions(asg)
    reserved = {n: f.get("ReservedConcurrentExecutions") for n, f in found.items()}
    kept = {n for n, calls in reserved.items() if calls}
    rounds = {"SettleJobs", "SweepJobs", "ScaleWorkers"}
    assert kept == {"AuthorizeHttp", "AuthorizeSocket", *rounds}


def test_the_least_concurrency_that_can_reserve_is_said_right() -> None:
    assert needed_to_reserve() == requests.MIN_TO_RESERVE == plan.MIN_TO_RESERVE


@pytest.mark.parametrize(
    ("functions", "reserves"),
    [
        ({}, False),
        ({"concurrency": requests.MIN_TO_RESERVE - 1}, False),
        ({"concurrency": requests.MIN_TO_RESERVE}, True),
        ({"concurrency": 1000, "reserve": False}, False),
    ],
)
def test_calls_are_reserved_where_the_account_can(
    functions: dict[str, Any], reserves: bool
) -> None:
    chosen = deployment(functions=functions)
    found = {row.name for row in FUNCTIONS.values() if reserved(row, chosen)}
    assert bool(found) is reserves


def test_a_small_account_cannot_reserve() -> None:
    with pytest.raises(WrongDeployment, match=str(requests.MIN_TO_RESERVE)):
        deployment(functions={"concurrency": 100, "reserve": True})


@pytest.mark.parametrize(
    ("chosen", "rate", "waits"),
    [
        (deployment(), 100, 1),
        (deployment(functions={"concurrency": 1000}), 2000, 100),
        (deployment(functions={"concurrency": 5000}), 2000, 100),
        (deployment(api={"requests_per_second": 7, "max_waits": 0}), 7, 0),
    ],
)
def test_limits_follow_the_accounts_concurrency(chosen: Deployment, rate: int, waits: int) -> None:
    assert (chosen.requests_per_second, chosen.max_waits) == (rate, waits)


def test_one_owner_may_make_half_of_the_requests(asg: Templates) -> None:
    assert deployment().owner_requests_per_minute == 3_000
    assert deployment(api={"requests_per_second": 1}).owner_requests_per_minute == 30
    counted = [name for name, row in FUNCTIONS.items() if BudgetSettings in row.settings]
    assert {"GetJob", "ListModels", "SubmitJob"} <= set(counted)
    for name in counted:
        assert asg.environment(name)["REQUESTS_PER_MINUTE"] == str(50 * 30)


def test_the_limits_of_the_deployment_reach_api_and_functions(asg: Templates) -> None:
    stage: Any = named(asg.api, "AWS::ApiGatewayV2::Stage", "HttpStage")
    assert stage["DefaultRouteSettings"] == {
        "ThrottlingBurstLimit": 50,
        "ThrottlingRateLimit": 50,
    }
    for function in ("SubmitJob", "Generate"):
        assert asg.environment(function)["MAX_WAITS"] == "0"


def test_open_routes_have_low_throttles_of_their_own(aws: Templates) -> None:
    stage: Any = named(aws.api, "AWS::ApiGatewayV2::Stage", "HttpStage")
    keyless = {key for key, (_, kind) in aws.routes("HttpApi").items() if kind == "NONE"}
    # A flood of these must not lock those out who are signed in.
    open_routes = keyless - {route.key for route in ROUTES if route.reads_cookie}
    assert set(stage["RouteSettings"]) == open_routes
    for throttle in stage["RouteSettings"].values():
        assert throttle["ThrottlingRateLimit"] <= 20
    # A stage that names a route cannot be made before the route.
    (name,) = (n for n in aws.api["Resources"] if plain_name(n) == "HttpStage")
    waits_for = {plain_name(other) for other in aws.api["Resources"][name]["DependsOn"]}
    assert any("healthz" in other for other in waits_for)


def test_the_access_log_needs_no_share_of_the_accounts_policy_for_logs(aws: Templates) -> None:
    log = named(aws.api, "AWS::Logs::LogGroup", "HttpAccessLog")
    assert log["LogGroupName"] == "/aws/vendedlogs/comfyline-test/http"


def test_functions_have_little_memory_unless_they_need_the_cpu(aws: Templates) -> None:
    sizes = {name: of["MemorySize"] for name, of in functions(aws).items()}
    assert sizes == {row.name: row.memory for row in FUNCTIONS.values()}
    assert set(sizes.values()) == {512, 1769}
    assert sizes["PushUpdates"] == sizes["SweepJobs"] == 1769
    assert sizes["GetJob"] == 512


def test_functions_are_not_traced_unless_the_deployment_pays(
    aws: Templates, asg: Templates
) -> None:
    def traced(templates: Templates) -> set[str]:
        found = functions(templates).items()
        return {name for name, of in found if of["TracingConfig"]["Mode"] == "Active"}

    assert traced(aws) == set()
    # The stream does not carry a job's trace, so there is nothing to connect SettleJobs' with.
    assert traced(asg) == FUNCTIONS.keys() - {"SettleJobs"}
