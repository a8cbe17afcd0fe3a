"""The fleet with both kinds of capacity: its costs when idle, its network, its instances."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from infra.assets import ROOT
from tests.infra.conftest import deployment, synthesise
from tests.infra.templates import Json, Templates, named, only, own_outputs, resources

PROVIDER = "AWS::ECS::CapacityProvider"
# Resources that AWS bills by the hour, even when they are unused.
FIXED_COSTS = {
    "AWS::EC2::EIP",
    "AWS::EC2::NatGateway",
    "AWS::ElasticLoadBalancingV2::LoadBalancer",
    "AWS::KMS::Key",
    "AWS::EC2::Instance",
}


@pytest.mark.parametrize("variant", ["aws", "asg", "dev"])
def test_no_resource_is_billed_by_the_hour(request: pytest.FixtureRequest, variant: str) -> None:
    templates: Templates = request.getfixturevalue(variant)
    kinds = {r["Type"] for template in templates.all for r in template["Resources"].values()}
    assert not kinds & FIXED_COSTS
    endpoints = resources(templates.fleet, "AWS::EC2::VPCEndpoint").values()
    assert {endpoint["VpcEndpointType"] for endpoint in endpoints} == {"Gateway"}
    services = sorted(templates.render(e["ServiceName"]).rpartition(".")[2] for e in endpoints)
    assert services == ["dynamodb", "s3"]


def test_nothing_reaches_a_worker(aws: Templates) -> None:
    group = only(resources(aws.fleet, "AWS::EC2::SecurityGroup"))
    assert group.get("SecurityGroupIngress", []) == []
    assert not resources(aws.fleet, "AWS::EC2::SecurityGroupIngress")
    (out,) = group["SecurityGroupEgress"]
    assert (out["IpProtocol"], out["FromPort"], out["ToPort"]) == ("tcp", 443, 443)


@pytest.mark.parametrize(("name", "option"), [("Spot", "SPOT"), ("OnDemand", "ON_DEMAND")])
def test_managed_providers(aws: Templates, name: str, option: str) -> None:
    provider = named(aws.fleet, PROVIDER, name)["ManagedInstancesProvider"]
    launch = provider["InstanceLaunchTemplate"]
    assert launch["CapacityOptionType"] == option
    assert launch["LocalStorageConfiguration"] == {"UseLocalStorage": True}
    needs = launch["InstanceRequirements"]
    assert needs["AcceleratorCount"] == {"Min": 1, "Max": 1}
    assert needs["AllowedInstanceTypes"] == ["g6.xlarge", "g5.xlarge"]
    # An empty instance is of no use: the scaler's quiet time is what keeps warm workers.
    assert 0 < provider["InfrastructureOptimization"]["ScaleInAfter"] <= 300


@pytest.mark.parametrize("name", ["Spot", "OnDemand"])
def test_no_chosen_type_is_left_out_for_its_price(aws: Templates, name: str) -> None:
    """By default AWS leaves out what costs 20 % more than the cheapest: g5 beside g6."""
    launch = named(aws.fleet, PROVIDER, name)["ManagedInstancesProvider"]["InstanceLaunchTemplate"]
    needs = launch["InstanceRequirements"]
    assert needs[f"{name}MaxPricePercentageOverLowestPrice"] >= 999_999


def test_the_instances_roles_differ_by_region(aws: Templates) -> None:
    """Roles are global. AWS's policy lets ECS pass on only roles with this prefix."""
    roles = resources(aws.fleet, "AWS::IAM::Role").values()
    names = [aws.render(role["RoleName"]) for role in roles if "RoleName" in role]
    assert sorted(names) == [
        f"ecsInstanceRole-comfyline-test-{kind}-AWS::Region" for kind in ("o", "s")
    ]
    longest = f"ecsInstanceRole-comfyline-{'x' * 20}-s-ap-southeast-1"
    assert len(longest) <= 64


@pytest.mark.parametrize(("name", "on_demand"), [("Spot", 0), ("OnDemand", 100)])
def test_groups(asg: Templates, name: str, on_demand: int) -> None:
    group = named(asg.fleet, "AWS::AutoScaling::AutoScalingGroup", f"{name}ASG")
    assert (group["MinSize"], group["MaxSize"]) == ("0", "10")
    assert group["NewInstancesProtectedFromScaleIn"] is True
    assert group["CapacityRebalance"] is False
    mix = group["MixedInstancesPolicy"]
    distribution = mix["InstancesDistribution"]
    assert distribution["OnDemandPercentageAboveBaseCapacity"] == on_demand
    types = [o["InstanceType"] for o in mix["LaunchTemplate"]["Overrides"]]
    assert types == ["g6.xlarge", "g5.xlarge"]
    provider = named(asg.fleet, PROVIDER, f"{name}Group")["AutoScalingGroupProvider"]
    assert provider["ManagedTerminationProtection"] == "ENABLED"
    assert provider["ManagedDraining"] == "ENABLED"


def test_a_new_network_has_the_chosen_zones_and_range(asg: Templates) -> None:
    subnets = resources(asg.fleet, "AWS::EC2::Subnet").values()
    assert {s["AvailabilityZone"] for s in subnets} == {"eu-west-1a", "eu-west-1c"}
    assert only(resources(asg.fleet, "AWS::EC2::VPC"))["CidrBlock"] == "10.20.0.0/20"


def test_a_network_that_exists_is_used_as_it_is(tmp_path: Path) -> None:
    network = {
        "vpc_id": "vpc-12345678",
        "subnet_ids": ["subnet-11111111", "subnet-22222222"],
        "security_group_ids": ["sg-12345678"],
    }
    templates = synthesise(tmp_path, deployment(network=network))
    kinds = {resource["Type"] for resource in templates.fleet["Resources"].values()}
    assert not [kind for kind in kinds if kind.startswith("AWS::EC2::")]
    for name in ("Spot", "OnDemand"):
        launch = named(templates.fleet, PROVIDER, name)["ManagedInstancesProvider"]
        assert launch["InstanceLaunchTemplate"]["NetworkConfiguration"] == {
            "SecurityGroups": ["sg-12345678"],
            "Subnets": ["subnet-11111111", "subnet-22222222"],
        }


def test_a_disk_is_restored_at_first_reads_unless_a_rate_is_given(tmp_path: Path) -> None:
    fleet = {"capacity": "asg", "ami_id": "ami-0123456789abcdef0"}
    templates = synthesise(tmp_path, deployment(fleet=fleet))
    launch = only(resources(templates.fleet, "AWS::EC2::LaunchTemplate"))["LaunchTemplateData"]
    assert "VolumeInitializationRate" not in launch["BlockDeviceMappings"][0]["Ebs"]


def test_group_instances(asg: Templates) -> None:
    launch = only(resources(asg.fleet, "AWS::EC2::LaunchTemplate"))["LaunchTemplateData"]
    assert launch["MetadataOptions"]["HttpTokens"] == "required"
    assert launch["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
    (disk,) = (mapping["Ebs"] for mapping in launch["BlockDeviceMappings"])
    assert disk["Encrypted"] is True
    assert disk["VolumeInitializationRate"] == 300
    user_data = asg.render(launch["UserData"]["Fn::Base64"])
    # Without it, no worker would receive a spot notice in time.
    assert "ECS_ENABLE_SPOT_INSTANCE_DRAINING=true" in user_data
    assert "ECS_CONTAINER_STOP_TIMEOUT=110s" in user_data
    # Otherwise the models of a few stopped tasks fill the disk.
    assert "ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION=5m" in user_data


def user_data(templates: Templates) -> str:
    launch = only(resources(templates.fleet, "AWS::EC2::LaunchTemplate"))["LaunchTemplateData"]
    return templates.render(launch["UserData"]["Fn::Base64"])


def test_the_engines_user_reaches_nothing_from_a_groups_instance(asg: Templates) -> None:
    rules = [line for line in user_data(asg).splitlines() if "tables" in line]
    assert rules == [
        "iptables -A OUTPUT -m owner --uid-owner 10002 -o lo -j ACCEPT",
        "iptables -A OUTPUT -m owner --uid-owner 10002 -j REJECT",
        "ip6tables -A OUTPUT -m owner --uid-owner 10002 ! -o lo -j REJECT",
    ]
    assert "useradd --uid 10002 " in (ROOT / "gpu_worker" / "Dockerfile").read_text()


def test_an_engine_that_may_connect_does_not_reach_the_metadata(tmp_path: Path) -> None:
    chosen = deployment(
        fleet={"capacity": "asg"}, worker={"image": "worker:1", "engine_egress": True}
    )
    templates = synthesise(tmp_path, chosen)
    assert "--uid-owner 10002 -d 169.254.0.0/16 -j REJECT" in user_data(templates)
    assert "--uid-owner 10002 -j REJECT" not in user_data(templates)
    task = only(resources(templates.worker, "AWS::ECS::TaskDefinition"))
    assert {"Name": "ENGINE_EGRESS", "Value": "1"} in task["ContainerDefinitions"][0]["Environment"]


@pytest.mark.parametrize("variant", ["aws", "asg"])
def test_the_worker_confines_its_engine(request: pytest.FixtureRequest, variant: str) -> None:
    templates: Templates = request.getfixturevalue(variant)
    task = only(resources(templates.worker, "AWS::ECS::TaskDefinition"))
    assert {"Name": "ENGINE_EGRESS", "Value": "0"} in task["ContainerDefinitions"][0]["Environment"]


@pytest.mark.parametrize(("variant", "stage"), [("aws", "test"), ("asg", "prod")])
def test_costs_can_be_split_by_stage(
    request: pytest.FixtureRequest, variant: str, stage: str
) -> None:
    templates: Templates = request.getfixturevalue(variant)
    ours = {"project": "comfyline", "stage": stage}
    found = {}
    for template in templates.all:
        for name, resource in template["Resources"].items():
            if resource["Type"] in TAGGED:
                found[name] = tags(resource["Properties"]).items() >= ours.items()
    assert found
    assert [name for name, tagged in found.items() if not tagged] == []


TAGGED = {
    "AWS::ApiGatewayV2::Stage",
    "AWS::AutoScaling::AutoScalingGroup",
    "AWS::CloudWatch::Alarm",
    "AWS::DynamoDB::GlobalTable",
    "AWS::ECS::CapacityProvider",
    "AWS::ECS::Service",
    "AWS::Lambda::Function",
    "AWS::Logs::LogGroup",
    "AWS::S3::Bucket",
    "AWS::SNS::Topic",
    "AWS::SQS::Queue",
}


def tags(properties: Json) -> dict[str, str]:
    if "Replicas" in properties:  # a table has its tags on each replica
        return tags(properties["Replicas"][0])
    found: Any = properties.get("Tags", {})
    if isinstance(found, list):
        return {tag["Key"]: tag["Value"] for tag in found}
    return dict(found)


def test_outputs(aws: Templates) -> None:
    def outputs(template: Json) -> set[str]:
        return set(own_outputs(template))

    assert outputs(aws.fleet) == {"FleetCluster", "WorkerSecurityGroup"}
    assert outputs(aws.observability) == {"AlarmTopic"}


def test_insights_are_off_unless_the_deployment_enables_them(
    aws: Templates, asg: Templates
) -> None:
    def insights(templates: Templates) -> str:
        settings = only(resources(templates.fleet, "AWS::ECS::Cluster"))["ClusterSettings"]
        return str(settings[0]["Value"])

    assert (insights(aws), insights(asg)) == ("disabled", "enhanced")


def test_the_cluster_has_the_name_that_grants_use(aws: Templates) -> None:
    assert only(resources(aws.fleet, "AWS::ECS::Cluster"))["ClusterName"] == "comfyline-test"
