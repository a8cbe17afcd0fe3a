"""`make verify-aws`: check in a real account what no emulator can show.

    make verify-aws STAGE=prod                       # the harmless checks: first-deploy, first-job
    make verify-aws STAGE=prod CHECKS="edge"         # harmless, for a stage with edge.domain
    make verify-aws STAGE=prod CHECKS="spot-loss"    # ends an instance: warn its users first
    make verify-aws STAGE=prod CHECKS="deploy-under-load teardown"

It reads the stacks' outputs with this shell's AWS credentials, and posts jobs with the key in
COMFYLINE_API_KEY.
Each line has the expected and the found value. The exit code is 1 if a check failed. GPUs cost
money while the checks run: some minutes of one to three workers.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import boto3

from comfyline.client import ComfylineClientError
from tools.deployed_stage import SERVICE_NAMES, Account
from tools.unverified import (
    BOOT,
    BOOT_SECONDS,
    DEPLOY_JOBS,
    EDGE_ROUND,
    EDGE_SERVES,
    EDGE_SOCKET,
    END_OF_FLEET,
    END_SECONDS,
    HOSTS,
    MEMORY,
    MEMORY_MIB,
    PROTECTION,
    RETIRE_SECONDS,
    RETIREMENT,
    SERVICES,
    SPOT,
    SPOT_JOBS,
    SPOT_LOSS,
    STACKS,
    ZONES,
    Fact,
)

PROMPT = "a red fox in the snow"
PARTS = ("data", "fleet", "worker", "scaler", "api", "observability")
HARMLESS = "first-deploy first-job"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check has found about a fact."""

    fact: Fact
    found: str
    is_right: bool


def first_deploy(account: Account) -> Iterator[Finding]:
    """The stacks are there, and no GPU was started for them."""
    stacks = account.stacks()
    states = {part: stacks.get(part, ("missing", {}))[0] for part in PARTS}
    yield Finding(STACKS, _shown(states), all(s.endswith("_COMPLETE") for s in states.values()))
    services = {service["serviceName"]: service for service in account.services()}
    providers = {name: len(s["capacityProviderStrategy"]) for name, s in services.items()}
    yield Finding(SERVICES, _shown(providers), providers == dict.fromkeys(SERVICE_NAMES, 1))
    zones = {n: s.get("availabilityZoneRebalancing", "unknown") for n, s in services.items()}
    yield Finding(ZONES, _shown(zones), set(zones.values()) == {"DISABLED"})


def first_job(account: Account) -> Iterator[Finding]:
    """A job of an idle fleet boots a worker, and its picture comes from the bucket's own region."""
    began = time.monotonic()
    job = account.client.submit(PROMPT)
    state = _ended(job, BOOT_SECONDS)
    seconds = time.monotonic() - began
    yield Finding(BOOT, f"{state} after {seconds:.0f} s", state == "succeeded")
    result = job.view.result if job.view else None
    hosts = [urlsplit(str(file.url)).netloc for file in result.artifacts] if result else []
    right = f".s3.{account.region}.amazonaws.com"
    are_right = bool(hosts) and all(right in host for host in hosts)
    yield Finding(HOSTS, ", ".join(hosts) or "no file", are_right)
    tasks = [task for service in SERVICE_NAMES for task in account.tasks(service)]
    registered = [account.memory_of(task) for task in tasks]
    has_enough = bool(registered) and min(registered) >= MEMORY_MIB
    yield Finding(MEMORY, f"{min(registered)} MiB" if registered else "no worker", has_enough)


EDGE_PATHS = ("/healthz", "/docs", "/console")
# A route with a key, one without, a path that no route takes, and the stage of the sockets.
GUARDED = ("/api/v1/jobs", "/healthz", "/nowhere")


def edge(account: Account) -> Iterator[Finding]:
    """The edge serves everything, and the APIs behind it refuse requests that go round it."""
    outputs = account.stacks()["api"][1]
    url = outputs["HttpApiUrl"]
    answers = {path: account.get(f"{url}{path}") for path in EDGE_PATHS}
    statuses = {path: status for path, (status, _) in answers.items()}
    has_policy = "content-security-policy" in answers["/console"][1]
    is_served = has_policy and set(statuses.values()) == {200}
    found = f"{_shown(statuses)}; {'a' if has_policy else 'no'} policy"
    yield Finding(EDGE_SERVES, found, is_served)
    answer = account.ping()
    yield Finding(EDGE_SOCKET, answer, answer == "pong")
    host = f"execute-api.{account.region}.amazonaws.com"
    round_it = [f"https://{outputs['HttpApiId']}.{host}{path}" for path in GUARDED]
    round_it.append(f"https://{outputs['WebSocketApiId']}.{host}/{outputs['WebSocketStage']}")
    refused = {urlsplit(url).path: account.get(url)[0] for url in round_it}
    yield Finding(EDGE_ROUND, _shown(refused), set(refused.values()) <= {401, 403})


def spot_loss(account: Account) -> Iterator[Finding]:
    """The jobs of a spot instance that ends are run again by another worker."""
    jobs = [account.client.submit(PROMPT) for _ in range(SPOT_JOBS)]
    task = _soon(lambda: next(iter(account.tasks("spot")), None), BOOT_SECONDS)
    yield Finding(SPOT, "one runs" if task else "none runs", task is not None)
    if task is not None:
        instance = account.instance_of(task)["ec2InstanceId"]
        account.ec2.terminate_instances(InstanceIds=[instance])
    yield _all_succeed(SPOT_LOSS, jobs, is_right=task is not None)


def deploy_under_load(account: Account) -> Iterator[Finding]:
    """Workers of an old revision retire while jobs wait, and no job is lost."""
    jobs = [account.client.submit(PROMPT) for _ in range(DEPLOY_JOBS)]
    old = {task["taskArn"] for task in _soon(lambda: account.tasks("ondemand"), BOOT_SECONDS) or []}
    _deploy_copy(account, account.services()[0]["taskDefinition"])
    gone = _soon(
        lambda: not old & {task["taskArn"] for task in account.tasks("ondemand")}, RETIRE_SECONDS
    )
    found = f"{len(old)} old tasks, {'all ended' if gone else 'some still run'}"
    yield Finding(RETIREMENT, found, bool(old and gone))
    yield _all_succeed(PROTECTION, jobs)


def _all_succeed(fact: Fact, jobs: Sequence[Any], *, is_right: bool = True) -> Finding:
    states = Counter(_ended(job, BOOT_SECONDS * 2) for job in jobs)
    return Finding(fact, _shown(states), is_right and set(states) == {"succeeded"})


def _ended(job: Any, seconds: float) -> str:
    """How the job ended; the name of the error if the client could not wait for it."""
    try:
        return str(job.wait(timeout=seconds).status)
    except ComfylineClientError as error:
        return type(error).__name__


def _shown(found: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in found.items()) or "nothing"


def _deploy_copy(account: Account, definition: str) -> None:
    """Give both services a new revision with the same content, until the next deployment."""
    found = account.ecs.describe_task_definition(taskDefinition=definition)["taskDefinition"]
    made_by_ecs = (
        *("taskDefinitionArn", "revision", "status", "requiresAttributes", "compatibilities"),
        *("registeredAt", "registeredBy", "deregisteredAt"),
    )
    content = {name: value for name, value in found.items() if name not in made_by_ecs}
    new = account.ecs.register_task_definition(**content)["taskDefinition"]["taskDefinitionArn"]
    for name in SERVICE_NAMES:
        account.ecs.update_service(cluster=account.cluster, service=name, taskDefinition=new)


def teardown(account: Account) -> Iterator[Finding]:
    """An idle fleet ends: no task and no instance is left, so nothing costs by the hour."""
    is_empty = _soon(lambda: not _instances(account), END_SECONDS)
    yield Finding(END_OF_FLEET, f"{len(_instances(account))} left", bool(is_empty))


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
    "edge": edge,
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
            print(f"{mark} {name}: {finding.fact.expected}; found: {finding.found}", flush=True)
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
