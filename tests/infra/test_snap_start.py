"""SnapStart: what API Gateway calls starts from a snapshot, if the deployment file asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.choices import CHOICES
from infra.deployment_file import read_deployment
from infra.functions import FUNCTIONS
from infra.prices import HOURS_A_MONTH, prices
from tests.infra.conftest import deployment, synthesise
from tests.infra.templates import Templates, function_in, plain_name, resources, statements

CALLED = {name for name, row in FUNCTIONS.items() if row.is_called_by_gateway}
ALIAS, VERSION = "AWS::Lambda::Alias", "AWS::Lambda::Version"


@pytest.fixture(scope="module")
def on(tmp_path_factory: pytest.TempPathFactory) -> Templates:
    chosen = deployment(functions={"snap_start": True})
    return synthesise(tmp_path_factory.mktemp("snap"), chosen)


def called_by_gateway(templates: Templates) -> Iterator[Any]:
    """What the routes and the authorizers of both APIs call."""
    for integration in resources(templates.api, "AWS::ApiGatewayV2::Integration").values():
        yield integration["IntegrationUri"]
    for authorizer in resources(templates.api, "AWS::ApiGatewayV2::Authorizer").values():
        yield authorizer["AuthorizerUri"]


def test_routes_and_authorizers_are_called_by_the_gateway_and_nothing_else_is() -> None:
    assert {"AuthorizeHttp", "AuthorizeSocket", "UnknownRoute", "SubmitJob"} < CALLED
    assert set(FUNCTIONS) - CALLED == {
        *("PushChunk", "PushUpdates", "SettleJobs", "SweepJobs", "RedriveTickets"),
        *("ScaleWorkers", "CountCrashes"),
    }


def test_there_are_no_snapshots_by_default(aws: Templates) -> None:
    for template in aws.all:
        assert not resources(template, ALIAS)
        assert not resources(template, VERSION)
        for function in resources(template, "AWS::Lambda::Function").values():
            assert "SnapStart" not in function


def test_an_emulator_has_no_snapshots(tmp_path_factory: pytest.TempPathFactory) -> None:
    file = read_deployment(Path("deployments/local.toml"))
    functions = file.functions.model_copy(update={"snap_start": True})
    local = file.model_copy(update={"functions": functions})
    assert local.is_local
    templates = synthesise(tmp_path_factory.mktemp("local"), local)
    assert not resources(templates.api, ALIAS)
    assert not any("SnapStart" in function for function in templates.functions().values())


def test_what_the_gateway_calls_has_snapshots(on: Templates) -> None:
    found = {name for name, function in on.functions().items() if "SnapStart" in function}
    assert found == CALLED
    for name in CALLED:
        assert on.functions()[name]["SnapStart"] == {"ApplyOn": "PublishedVersions"}
        # With these, Lambda refuses SnapStart.
        assert "FileSystemConfigs" not in on.functions()[name]
        assert "EphemeralStorage" not in on.functions()[name]
    for alias in resources(on.api, ALIAS).values():
        assert "ProvisionedConcurrencyConfig" not in alias


def test_the_gateway_calls_an_alias_and_may_do_so(on: Templates) -> None:
    """A snapshot is of a version only: the function itself would start without one."""
    aliases = set(resources(on.api, ALIAS))
    assert {plain_name(name).removesuffix("FunctionAlias") for name in aliases} == CALLED
    for uri in called_by_gateway(on):
        assert any(alias in on.render(uri) for alias in aliases), uri
    permissions = resources(on.api, "AWS::Lambda::Permission").values()
    of_gateway = [p for p in permissions if p["Principal"] == "apigateway.amazonaws.com"]
    assert {on.render(p["FunctionName"]) for p in of_gateway} == aliases


def test_each_alias_points_to_its_functions_current_version(on: Templates) -> None:
    versions = resources(on.api, VERSION)
    for name, alias in resources(on.api, ALIAS).items():
        version = on.render(alias["FunctionVersion"]).removesuffix(".Version")
        function = on.render(alias["FunctionName"])
        assert on.render(versions[version]["FunctionName"]) == function
        assert function_in(function) == plain_name(name).removesuffix("FunctionAlias")


def test_an_old_version_is_removed_with_its_snapshot(on: Templates) -> None:
    """Each version that is kept is paid for."""
    for resource in on.api["Resources"].values():
        if resource["Type"] == VERSION:
            assert resource.get("DeletionPolicy", "Delete") == "Delete"
            assert resource.get("UpdateReplacePolicy", "Delete") == "Delete"


def test_a_change_of_configuration_publishes_a_version(
    on: Templates, tmp_path_factory: pytest.TempPathFactory
) -> None:
    chosen = deployment(functions={"snap_start": True, "log_level": "debug"})
    changed = synthesise(tmp_path_factory.mktemp("debug"), chosen)
    assert len(resources(on.api, VERSION)) == len(CALLED)
    assert not set(resources(on.api, VERSION)) & set(resources(changed.api, VERSION))


def test_the_greeting_calls_the_alias_too(on: Templates) -> None:
    """Elsewhere the greeting would start a process of its own, without a snapshot."""
    (alias,) = (name for name in resources(on.api, ALIAS) if name.startswith("SocketSubscribe"))
    assert alias in on.environment("SocketConnect")["GREETER_FUNCTION"]
    (grant,) = (s for _, s in statements(on.api) if s.get("Sid") == "GreetConnection")
    assert on.render(grant["Resource"]) == alias
    (config,) = (
        config
        for config in resources(on.api, "AWS::Lambda::EventInvokeConfig").values()
        if on.render(config["FunctionName"]).startswith("SocketSubscribe")
    )
    assert f"{{'Ref': '{alias}'}}" in str(config["Qualifier"])


def test_the_description_tells_the_published_price() -> None:
    price = prices()["snap_start"]
    kept = sum(FUNCTIONS[name].memory for name in CALLED) / 1024
    month = kept * price["kept_gb_second"] * HOURS_A_MONTH * 3600
    (memory,) = {FUNCTIONS[name].memory for name in CALLED if FUNCTIONS[name].memory <= 512}
    starts = 1000 * memory / 1024 * price["restored_gb"]
    description = CHOICES["functions.snap_start"].description
    assert f"about ${month:.0f} a month" in description
    assert f"${starts:.2f} for 1,000 starts" in description
