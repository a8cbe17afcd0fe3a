"""`make verify-aws`: check in a real account what no emulator can show.

    make verify-aws STAGE=prod                       # the harmless checks: first-deploy, first-job
    make verify-aws STAGE=prod CHECKS="spot-loss"    # ends an instance: warn its users first
    make verify-aws STAGE=prod CHECKS="deploy-under-load teardown"

It reads the stacks' outputs with this shell's AWS credentials, and posts jobs with the key in
COMFYLINE_API_KEY.
Each line has the expected and the found value. The exit code is 1 if a check failed. GPUs cost
money while the checks run: some minutes of one to three workers.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import boto3

from comfyline.client import Comfyline

PROMPT = "a red fox in the snow"
BOOT_SECONDS = 900.0  # of the first worker: instance, image and models
SERVICES = ("ondemand", "spot")
HARMLESS = "first-deploy first-job"


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact of a check."""

    expected: str
    found: str
    is_right: bool


class Account:
    """A deployed stage, by the names of its stacks."""

    def __init__(self, stage: str, session: Any, client: Comfyline | None = None) -> None:
        self.cluster = f"comfyline-{stage}"
        self.region: str = session.region_name
        self.ecs, self.ec2 = session.client("ecs"), session.client("ec2")
        self._cloudformation = session.client("cloudformation")
        self._client = client

    def stacks(self) -> Mapping[str, tuple[str, Mapping[str, str]]]:
        """The status and the outputs of each of the deployment's stacks, by its part."""
        found = {}
        for page in self._cloudformation.get_paginator("describe_stacks").paginate():
            for stack in page["Stacks"]:
                cluster, _, part = stack["StackName"].rpartition("-")
                if cluster == self.cluster:
                    outputs = {o["OutputKey"]: o["OutputValue"] for o in stack.get("Outputs", ())}
                    found[part] = (stack["StackStatus"], outputs)
        return found

    @property
    def client(self) -> Comfyline:
        """A client of the deployed API."""
        if self._client is None:
            outputs = self.stacks()["api"][1]
            self._client = Comfyline(outputs["HttpApiUrl"], os.environ["COMFYLINE_API_KEY"])
        return self._client

    def services(self) -> list[Any]:
        """Both ECS services."""
        answer = self.ecs.describe_services(cluster=self.cluster, services=list(SERVICES))
        found: list[Any] = answer["services"]
        return found

    def tasks(self, service: str) -> list[Any]:
        """The running tasks of a service."""
        arns = self.ecs.list_tasks(cluster=self.cluster, serviceName=service)["taskArns"]
        found: list[Any] = (
            arns and self.ecs.describe_tasks(cluster=self.cluster, tasks=arns)["tasks"]
        )
        return [task for task in found if task["lastStatus"] == "RUNNING"]

    def instance_of(self, task: Any) -> Any:
        """The container instance on which a task runs."""
        answer = self.ecs.describe_container_instances(
            cluster=self.cluster, containerInstances=[task["containerInstanceArn"]]
        )
        return answer["containerInstances"][0]


def first_deploy(account: Account) -> Iterator[Finding]:
    """The stacks are there, and no GPU was started for them."""
    stacks = account.stacks()
    for part in ("data", "fleet", "worker", "scaler", "api", "observability"):
        status = stacks.get(part, ("missing", {}))[0]
        yield Finding(f"stack {part} is complete", status, status.endswith("_COMPLETE"))
    for service in account.services():
        name, providers = service["serviceName"], service["capacityProviderStrategy"]
        yield Finding(f"{name} has a capacity of its own", str(providers), len(providers) == 1)
        zones = service.get("availabilityZoneRebalancing", "unknown")
        yield Finding(f"{name} does not move workers between zones", zones, zones == "DISABLED")


def first_job(account: Account) -> Iterator[Finding]:
    """A job of an idle fleet boots a worker, and its picture comes from the bucket's own region."""
    began = time.monotonic()
    view = account.client.submit(PROMPT).wait(timeout=BOOT_SECONDS)
    seconds = time.monotonic() - began
    yield Finding(f"a first job within {BOOT_SECONDS:.0f} s", f"{seconds:.0f} s", True)
    files = view.result.artifacts if view.result else []
    hosts = [urlsplit(str(file.url)).netloc for file in files]
    right = f".s3.{account.region}.amazonaws.com"
    yield Finding(
        f"signed URLs name *{right}", ", ".join(hosts) or "no file", all(right in h for h in hosts)
    )
    tasks = [task for service in SERVICES for task in account.tasks(service)]
    for task in tasks[:1]:
        registered = {r["name"]: r for r in account.instance_of(task)["registeredResources"]}
        memory = registered["MEMORY"]["integerValue"]
        yield Finding("an instance registers at least 13312 MiB", f"{memory} MiB", memory >= 13_312)
    yield Finding("a worker runs", f"{len(tasks)} tasks", bool(tasks))


def spot_loss(account: Account) -> Iterator[Finding]:
    """The job of a spot instance that ends is run again by another worker."""
    jobs = [account.client.submit(PROMPT) for _ in range(40)]
    task = _soon(lambda: next(iter(account.tasks("spot")), None), BOOT_SECONDS)
    yield Finding("40 jobs order a spot worker", "one runs" if task else "none", task is not None)
    if task is None:
        return
    instance = account.instance_of(task)["ec2InstanceId"]
    account.ec2.terminate_instances(InstanceIds=[instance])
    states = [job.wait(timeout=BOOT_SECONDS * 2).status for job in jobs]
    yield Finding(
        f"all jobs succeed after {instance} was ended",
        f"{sum(state == 'succeeded' for state in states)} of {len(states)}",
        all(state == "succeeded" for state in states),
    )


def deploy_under_load(account: Account) -> Iterator[Finding]:
    """Workers of an old revision retire while jobs wait, and no job is lost."""
    jobs = [account.client.submit(PROMPT) for _ in range(60)]
    old = _soon(lambda: account.tasks("ondemand"), BOOT_SECONDS) or []
    yield Finding("a worker runs before the deployment", f"{len(old)} tasks", bool(old))
    definition = account.services()[0]["taskDefinition"]
    _deploy_copy(account, definition)
    gone = _soon(
        lambda: not {t["taskArn"] for t in account.tasks("ondemand")} & {t["taskArn"] for t in old},
        600,
    )
    yield Finding(
        "old workers retire within ten minutes", "gone" if gone else "still up", bool(gone)
    )
    states = [job.wait(timeout=BOOT_SECONDS * 2).status for job in jobs]
    yield Finding(
        "all jobs succeed",
        f"{sum(state == 'succeeded' for state in states)} of {len(states)}",
        all(state == "succeeded" for state in states),
    )


def _deploy_copy(account: Account, definition: str) -> None:
    """Give both services a new revision with the same content, until the next deployment."""
    found = account.ecs.describe_task_definition(taskDefinition=definition)["taskDefinition"]
    made_by_ecs = (
        *("taskDefinitionArn", "revision", "status", "requiresAttributes", "compatibilities"),
        *("registeredAt", "registeredBy", "deregisteredAt"),
    )
    content = {name: value for name, value in found.items() if name not in made_by_ecs}
    new = account.ecs.register_task_definition(**content)["taskDefinition"]["taskDefinitionArn"]
    for name in SERVICES:
        account.ecs.update_service(cluster=account.cluster, service=name, taskDefinition=new)


def teardown(account: Account) -> Iterator[Finding]:
    """An idle fleet ends: no task and no instance is left, so nothing costs by the hour."""
    instances = _soon(lambda: not _instances(account), 1800)
    left = _instances(account)
    yield Finding("no instance is left after the quiet time", f"{len(left)} left", bool(instances))


def _instances(account: Account) -> list[str]:
    answer = account.ecs.list_container_instances(cluster=account.cluster)
    found: list[str] = answer["containerInstanceArns"]
    return found


def _soon(look: Callable[[], Any], seconds: float) -> Any:
    """The first true answer of `look`; its last answer if none was true in time."""
    give_up_at = time.monotonic() + seconds
    while not (found := look()) and time.monotonic() < give_up_at:
        time.sleep(10)
    return found


CHECKS: Mapping[str, Callable[[Account], Iterator[Finding]]] = {
    "first-deploy": first_deploy,
    "first-job": first_job,
    "spot-loss": spot_loss,
    "deploy-under-load": deploy_under_load,
    "teardown": teardown,
}


def verify(account: Account, names: list[str]) -> bool:
    """Run these checks and print each finding. True if all were as expected."""
    is_right = True
    for name in names:
        for finding in CHECKS[name](account):
            mark = "ok  " if finding.is_right else "FAIL"
            print(
                f"{mark} {name}: expected: {finding.expected}; found: {finding.found}", flush=True
            )
            is_right = is_right and finding.is_right
    return is_right


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--stage", default="dev")
    parser.add_argument("checks", nargs="*", default=HARMLESS.split(), help=", ".join(CHECKS))
    chosen = parser.parse_args()
    if unknown := set(chosen.checks) - CHECKS.keys():
        parser.error(f"no such check: {', '.join(sorted(unknown))}")
    sys.exit(not verify(Account(chosen.stage, boto3.Session()), list(chosen.checks)))


if __name__ == "__main__":
    main()
