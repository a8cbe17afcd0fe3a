"""`comfyline admin preflight`: find what would make a first deployment into an account fail.

Each check reads from AWS and says what to do about the answer. The preflight makes missing
service-linked roles if the operator agrees, and changes nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import boto3
import typer
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from comfyline.contract.texts import clean
from comfyline.operate.edge_readiness import BOOTSTRAP_PARAMETER, faults_of_edge
from comfyline.operate.encryption_key import faults_of_key
from comfyline.operate.image_platforms import platforms_of
from comfyline.operate.plan import ROLES, Plan

Clients = Callable[..., Any]  # the boto3 client of a service, and of a region if one is given

BOOTSTRAP_VERSION = 6  # that the templates require
BOOTSTRAP = "npx aws-cdk@2.1148.1 bootstrap"
LAMBDA_QUOTA = "L-B99A9384"
# By the first letters of an instance type: the quotas of vCPUs on-demand and of spot.
GPU_QUOTAS = {"g": ("L-DB2E81BA", "L-3819A6DF"), "p": ("L-417A185B", "L-7212CCBC")}
PLATFORM = "linux/amd64"


class State(StrEnum):
    """The answer of a check."""

    OK = "ok"
    WARNING = "warning"  # a deployment succeeds, but workers or functions may be refused later
    FAILED = "failed"  # a deployment, or the first job, would fail
    UNKNOWN = "unknown"  # AWS did not say


@dataclass(frozen=True, slots=True)
class Check:
    """One row of the table."""

    name: str
    state: State
    found: str
    to_do: str = ""


def preflight(plan: Plan, clients: Clients, make_role: Callable[[str], bool]) -> Iterator[Check]:
    """Every check, in the order in which a deployment would meet them.

    `make_role` is asked before a missing role is made. Without credentials there is one row only.
    """
    credentials = _answered("credentials", lambda: _credentials(clients))
    yield credentials
    if credentials.state is not State.OK:
        return
    checks: dict[str, Callable[[], Check]] = {
        "CDK bootstrap": lambda: _bootstrap(clients),
        **{role: lambda role=role: _role(clients, role, make_role) for role in plan.roles},  # type: ignore[misc]
        "Managed Instances": lambda: _managed_instances(clients, plan),
        "zones": lambda: _zones(clients, plan),
        "on-demand GPU quota": lambda: _gpu_quota(clients, plan, is_spot=False),
        "spot GPU quota": lambda: _gpu_quota(clients, plan, is_spot=True),
        "Lambda concurrency": lambda: _concurrency(clients, plan),
        "encryption key": lambda: _key(clients, plan),
        "edge": lambda: _edge(clients, plan),
        "image": lambda: _image(clients, plan),
    }
    for name, check in checks.items():
        yield _answered(name, check)


def _answered(name: str, check: Callable[[], Check]) -> Check:
    """The check's answer; a row that says so if AWS does not answer."""
    try:
        return check()
    except (BotoCoreError, ClientError, OSError) as error:
        state = State.FAILED if name == "credentials" else State.UNKNOWN
        return Check(name, state, str(error), "Allow this call, or check by hand (docs/deploy.md).")


def _credentials(clients: Clients) -> Check:
    sts = clients("sts")
    caller = sts.get_caller_identity()
    return Check(
        "credentials", State.OK, f"{caller['Arn']}, account {caller['Account']}, {_region(sts)}"
    )


def _region(client: Any) -> str:
    return str(client.meta.region_name)


def _bootstrap(clients: Clients) -> Check:
    name = "CDK bootstrap"
    ssm = clients("ssm")
    try:
        answer = ssm.get_parameter(Name=BOOTSTRAP_PARAMETER)
    except ssm.exceptions.ParameterNotFound:
        return Check(name, State.FAILED, "none in this region", BOOTSTRAP)
    version = int(answer["Parameter"]["Value"])
    if version < BOOTSTRAP_VERSION:
        return Check(name, State.FAILED, f"version {version}", BOOTSTRAP)
    return Check(name, State.OK, f"version {version}")


def _role(clients: Clients, role: str, make_role: Callable[[str], bool]) -> Check:
    iam = clients("iam")
    try:
        iam.get_role(RoleName=role)
    except iam.exceptions.NoSuchEntityException:
        command = f"aws iam create-service-linked-role --aws-service-name {ROLES[role]}"
        if not make_role(role):
            return Check(role, State.FAILED, "does not exist", command)
        iam.create_service_linked_role(AWSServiceName=ROLES[role])
        return Check(role, State.OK, "made now")
    return Check(role, State.OK, "exists")


def _managed_instances(clients: Clients, plan: Plan) -> Check:
    name = "Managed Instances"
    if plan.capacity != "managed":
        return Check(name, State.OK, 'not used: fleet.capacity = "asg"')
    # No call of AWS answers this for a region, so only the partitions that lack it are known.
    region = _region(clients("sts"))
    if region.startswith(("cn-", "us-gov-", "us-iso")):
        found = f"may be missing in {region}"
        return Check(name, State.WARNING, found, 'Set fleet.capacity = "asg".')
    return Check(
        name,
        State.OK,
        f"{region} is a commercial region",
        'If the fleet\'s stack is refused, set fleet.capacity = "asg".',
    )


def _zones(clients: Clients, plan: Plan) -> Check:
    ec2 = clients("ec2")
    pages = ec2.get_paginator("describe_instance_type_offerings").paginate(
        LocationType="availability-zone",
        Filters=[{"Name": "instance-type", "Values": list(plan.instance_types)}],
    )
    offered = {o["Location"] for page in pages for o in page["InstanceTypeOfferings"]}
    types = ", ".join(plan.instance_types)
    if not offered:
        return Check("zones", State.FAILED, f"none has {types}", "Choose other types or a region.")
    chosen = set(plan.zones or _first_zones(ec2))
    advice = f"fleet.zones = {json.dumps(sorted(offered))}"
    lacking = sorted(chosen - offered)
    if lacking:
        state = State.WARNING if chosen & offered else State.FAILED
        return Check("zones", state, f"{', '.join(lacking)} has none of {types}", advice)
    to_do = advice if len(offered) > len(chosen) else ""  # more zones give more spot capacity
    return Check("zones", State.OK, f"{', '.join(sorted(chosen))} have {types}", to_do)


def _first_zones(ec2: Any) -> list[str]:
    """The two zones that CloudFormation gives to a new network."""
    answer = ec2.describe_availability_zones(
        Filters=[{"Name": "zone-type", "Values": ["availability-zone"]}]
    )
    return sorted(zone["ZoneName"] for zone in answer["AvailabilityZones"])[:2]


def _gpu_quota(clients: Clients, plan: Plan, *, is_spot: bool) -> Check:
    name = f"{'spot' if is_spot else 'on-demand'} GPU quota"
    workers = plan.spot_workers if is_spot else plan.max_workers
    if not workers:
        return Check(name, State.OK, "not needed")
    family = plan.instance_types[0][0]
    if family not in GPU_QUOTAS:
        return Check(name, State.UNKNOWN, f"no quota is known for {plan.instance_types[0]}")
    code = GPU_QUOTAS[family][is_spot]
    quotas = clients("service-quotas")
    answer = quotas.get_service_quota(ServiceCode="ec2", QuotaCode=code)
    has, vcpus = int(answer["Quota"]["Value"]), _vcpus(clients, plan)
    found = f"{has} vCPUs, enough for {has // vcpus} of {workers} workers"
    if has >= vcpus * workers:
        return Check(name, State.OK, found)
    to_do = (
        "aws service-quotas request-service-quota-increase --service-code ec2 "
        f"--quota-code {code} --desired-value {vcpus * workers}"
    )
    # Without spot, on-demand workers take the jobs. So a low quota for spot is no failure.
    return Check(name, State.WARNING if has >= vcpus or is_spot else State.FAILED, found, to_do)


def _vcpus(clients: Clients, plan: Plan) -> int:
    """The vCPUs of the largest chosen type, because AWS may choose it for every worker."""
    answer = clients("ec2").describe_instance_types(InstanceTypes=list(plan.instance_types))
    return max(int(kind["VCpuInfo"]["DefaultVCpus"]) for kind in answer["InstanceTypes"])


def _concurrency(clients: Clients, plan: Plan) -> Check:
    name = "Lambda concurrency"
    settings = clients("lambda").get_account_settings()
    has = int(settings["AccountLimit"]["ConcurrentExecutions"])
    found = f"{has} calls at once; the deployment plans with {plan.concurrency}"
    if has < plan.concurrency:
        return Check(name, State.FAILED, found, f"Set functions.concurrency = {has}.")
    if not plan.reserves:
        found += "; none are reserved, so a flood of requests can stop authorizers and sweeper"
    if has < 1000:
        to_do = (
            "aws service-quotas request-service-quota-increase --service-code lambda "
            f"--quota-code {LAMBDA_QUOTA} --desired-value 1000"
        )
        return Check(name, State.WARNING, found, to_do)
    if plan.concurrency < 1000:
        return Check(name, State.WARNING, found, "Set functions.concurrency = 1000.")
    if not plan.reserves:
        return Check(name, State.WARNING, found, "Remove functions.reserve = false.")
    return Check(name, State.OK, found)


def _key(clients: Clients, plan: Plan) -> Check:
    name = "encryption key"
    if plan.key_arn is None:
        return Check(name, State.OK, "AWS's own keys")
    faults = faults_of_key(clients("kms"), plan.key_arn)
    if faults:
        return Check(name, State.FAILED, "; ".join(faults), "docs/deploy.md, Own key")
    return Check(name, State.OK, plan.key_arn)


def _edge(clients: Clients, plan: Plan) -> Check:
    if plan.edge_domain is None:
        return Check("edge", State.OK, "not used")
    faults = list(faults_of_edge(clients, plan))
    if faults:
        to_do = "docs/deploy.md, One name at the edge"
        return Check("edge", State.FAILED, "; ".join(faults), to_do)
    return Check("edge", State.OK, plan.edge_domain)


def _image(clients: Clients, plan: Plan) -> Check:
    try:
        platforms = platforms_of(clients("ecr"), plan.image)
    except ValueError:
        to_do = "Build it with `make image`, or check that it is for linux/amd64."
        return Check("image", State.UNKNOWN, f"{plan.image or 'none'} is not in ECR", to_do)
    if not platforms:
        return Check("image", State.FAILED, f"{plan.image} does not exist", "make image")
    named = ", ".join(sorted(platforms))
    if PLATFORM in platforms:
        return Check("image", State.OK, named)
    return Check("image", State.FAILED, f"it is for {named}", "make image, for linux/amd64")


# --- the command ----------------------------------------------------------------------------------


def command(
    deployment: Annotated[
        Path, typer.Option(help="The deployment file, such as deployments/prod.toml.")
    ] = Path("deployments/dev.toml"),
    yes: Annotated[
        bool, typer.Option("--yes", help="Make missing service-linked roles without asking.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, and make no role.")] = False,
) -> None:
    """Check whether the account is ready for a deployment. The exit code is 1 if it is not.

    It reads quotas, roles and zones, and asks before it makes a missing service-linked role.
    """
    try:
        plan = Plan.read(deployment)
    except (OSError, ValueError) as error:
        typer.echo(f"{deployment}: {error}", err=True)
        raise typer.Exit(2) from error

    def make_role(role: str) -> bool:
        return not as_json and (yes or typer.confirm(f"Make {role}?", default=True))

    # boto3's stubs know the names of services as literals only.
    clients: Clients = boto3.Session().client
    checks = list(preflight(plan, clients, make_role))
    if as_json:
        typer.echo(json.dumps([asdict(check) for check in checks]))
    else:
        _print(checks)
    raise typer.Exit(any(check.state is State.FAILED for check in checks))


def _print(checks: Iterable[Check]) -> None:
    table = Table("check", "", "found", "what to do")
    for check in checks:
        table.add_row(check.name, check.state, Text(clean(check.found)), Text(clean(check.to_do)))
    Console().print(table)
