"""The warm pool of an Auto Scaling group: its resources, and the script that an instance runs."""

from __future__ import annotations

import subprocess
from dataclasses import fields
from pathlib import Path

import pytest

from comfyline.service.settings import ModelsSettings, WorkerSettings
from infra.assets import ROOT
from infra.constructs.warm_pool import PREPARE_SECONDS, TRY_SECONDS, prepare
from infra.deployment_file import WrongDeployment
from tests.infra.conftest import deployment
from tests.infra.templates import Templates, named, only, resources
from tests.infra.test_fleet import user_data

IMAGE = "registry.example/worker:1"  # of the deployment in which no choice is the default


def test_the_pool_has_a_size_of_its_own(asg: Templates) -> None:
    pool = only(resources(asg.fleet, "AWS::AutoScaling::WarmPool"))
    # With a larger maximum, the pool would hold what the group lacks to its own maximum.
    assert (pool["MinSize"], pool["MaxGroupPreparedCapacity"]) == (2, 2)
    assert pool["PoolState"] == "Stopped"
    assert "InstanceReusePolicy" not in pool  # ECS refuses it
    group = only(resources(asg.fleet, "AWS::AutoScaling::LifecycleHook"))
    assert group["AutoScalingGroupName"] == pool["AutoScalingGroupName"]
    assert "OnDemand" in str(pool["AutoScalingGroupName"])


def test_an_instance_goes_on_even_if_its_script_hangs(asg: Templates) -> None:
    hook = only(resources(asg.fleet, "AWS::AutoScaling::LifecycleHook"))
    assert hook["LifecycleTransition"] == "autoscaling:EC2_INSTANCE_LAUNCHING"
    assert (hook["DefaultResult"], hook["HeartbeatTimeout"]) == ("CONTINUE", PREPARE_SECONDS)
    assert TRY_SECONDS < PREPARE_SECONDS


def test_there_is_no_pool_by_default(aws: Templates) -> None:
    assert not resources(aws.fleet, "AWS::AutoScaling::WarmPool")


@pytest.mark.parametrize("chosen", [{"warm_pool": 1}, {"ami_id": "ami-0123456789abcdef0"}])
def test_managed_instances_have_no_pool_and_no_image(chosen: dict[str, object]) -> None:
    with pytest.raises(WrongDeployment, match='need capacity = "asg"'):
        deployment(fleet=chosen)


def test_instances_start_from_the_chosen_image(asg: Templates) -> None:
    launch = only(resources(asg.fleet, "AWS::EC2::LaunchTemplate"))["LaunchTemplateData"]
    assert launch["ImageId"] == "ami-0123456789abcdef0"


def test_the_agent_waits_until_the_instance_is_in_service(asg: Templates) -> None:
    assert "ECS_WARM_POOLS_CHECK=true" in user_data(asg)


def test_an_instance_may_read_models_and_answer_its_own_groups_hook(asg: Templates) -> None:
    role = named(asg.fleet, "AWS::IAM::Role", "InstanceRole")
    (policy,) = role["Policies"]
    statements = {s["Sid"]: s for s in policy["PolicyDocument"]["Statement"]}
    models = asg.render(statements["FetchModel"]["Resource"])
    assert models.endswith(":::team-models/models/*")
    group = asg.render(statements["LeaveWarmPool"]["Resource"])
    assert group.endswith(":autoScalingGroup:*:autoScalingGroupName/comfyline-prod-ondemand")


def test_the_program_that_fetches_has_settings_that_the_worker_has_too() -> None:
    own = {field.name for field in fields(ModelsSettings)}
    assert own <= {field.name for field in fields(WorkerSettings)}
    # Two are in the image; the script gives the bucket.
    dockerfile = (ROOT / "gpu_worker" / "Dockerfile").read_text()
    assert {name for name in own if f"{name.upper()}=/" in dockerfile} == own - {"models_bucket"}


class Instance:
    """Runs the script as an instance does. Its commands are stand-ins that note their arguments."""

    def __init__(self, folder: Path, script: str) -> None:
        self._folder, self._script = folder, folder / "boot"
        self._script.write_text(script)

    def boot(self, state: str, *, docker: str = "exit 0") -> list[str]:
        """The commands of one boot into that state."""
        log = self._folder / "log"
        log.write_text("")
        note = f'#!/bin/bash\necho "$(basename $0) $*" >> {log}\n'
        answers = f"""
case "$*" in
  *api/token*) echo token ;;
  *target-lifecycle-state*) echo {state} ;;
  *instance-id*) echo i-1 ;;
  *region*) echo eu-west-1 ;;
esac
"""
        programs = {"docker": docker, "aws": "", "dnf": "", "iptables": "", "ip6tables": ""}
        for name, body in {**programs, "curl": answers}.items():
            program = self._folder / name
            program.write_text(note + body + "\n")
            program.chmod(0o755)
        path = f"{self._folder}:/usr/bin:/bin"
        subprocess.run(
            ["/bin/bash", self._script], env={"PATH": path}, check=True, capture_output=True
        )
        return [line for line in log.read_text().splitlines() if not line.startswith("curl ")]


@pytest.fixture
def instance(asg: Templates, tmp_path: Path) -> Instance:
    lines = user_data(asg).splitlines()
    start = next(n for n, line in enumerate(lines) if line.endswith("<<'END'"))
    return Instance(tmp_path, "\n".join(lines[start + 1 : lines.index("END")]) + "\n")


def without_firewall(commands: list[str]) -> list[str]:
    return [command for command in commands if "tables " not in command]


LEAVE = (
    "aws autoscaling complete-lifecycle-action --auto-scaling-group-name comfyline-prod-ondemand "
    "--lifecycle-hook-name prepare --instance-id i-1 --lifecycle-action-result CONTINUE"
)


def test_an_instance_that_will_be_stopped_first_gets_image_and_models(instance: Instance) -> None:
    pull, run, leave = without_firewall(instance.boot("Warmed:Stopped"))
    assert pull == f"docker pull --quiet {IMAGE}"
    assert run.startswith("docker run --rm --network host --read-only ")
    assert "--volume /var/lib/comfyline/models:/models --env MODELS_BUCKET=team-models " in run
    assert run.endswith(f"/opt/worker/bin/python {IMAGE} -m gpu_worker.fetch_models")
    assert leave == LEAVE


def test_an_instance_that_is_needed_goes_on_at_once(instance: Instance) -> None:
    assert without_firewall(instance.boot("InService")) == [LEAVE]


def test_an_instance_goes_on_if_it_cannot_be_prepared(instance: Instance) -> None:
    commands = without_firewall(instance.boot("Warmed:Stopped", docker="exit 1"))
    assert commands == [f"docker pull --quiet {IMAGE}", LEAVE]


def test_the_firewall_is_there_after_each_boot(instance: Instance) -> None:
    for state in ("Warmed:Stopped", "InService"):
        first, *others = instance.boot(state)
        assert first.startswith("iptables -A OUTPUT")  # before anything can run a graph
        assert [command for command in others if command.startswith("ip6tables -A OUTPUT")]


def test_an_instance_logs_in_to_a_registry_of_aws_only(instance: Instance) -> None:
    chosen = deployment(fleet={"capacity": "asg", "warm_pool": 1})  # its image is in ECR
    (login,) = (line for line in prepare(chosen, "models", "group", "/m") if "docker login" in line)
    assert login.endswith("--password-stdin 123456789012.dkr.ecr.eu-west-1.amazonaws.com")
    assert "login" not in " ".join(instance.boot("Warmed:Stopped"))
