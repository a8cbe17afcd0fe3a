"""The fleet with both kinds of capacity: its costs when idle, its network, its instances."""

from __future__ import annotations

from typing import Any

import pytest

from tests.infra.templates import Json, Templates, named, only, resources

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


def test_group(asg: Templates) -> None:
    group = only(resources(asg.fleet, "AWS::AutoScaling::AutoScalingGroup"))
    assert (group["MinSize"], group["MaxSize"]) == ("0", "10")
    assert group["NewInstancesProtectedFromScaleIn"] is True
    assert group["CapacityRebalance"] is False
    mix = group["MixedInstancesPolicy"]
    assert mix["InstancesDistribution"]["OnDemandPercentageAboveBaseCapacity"] == 50
    types = [o["InstanceType"] for o in mix["LaunchTemplate"]["Overrides"]]
    assert types == ["g6.xlarge", "g5.xlarge"]
    provider = only(resources(asg.fleet, PROVIDER))["AutoScalingGroupProvider"]
    assert provider["ManagedTerminationProtection"] == "ENABLED"
    assert provider["ManagedDraining"] == "ENABLED"


def test_group_instances(asg: Templates) -> None:
    launch = only(resources(asg.fleet, "AWS::EC2::LaunchTemplate"))["LaunchTemplateData"]
    assert launch["MetadataOptions"]["HttpTokens"] == "required"
    assert launch["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
    assert launch["BlockDeviceMappings"][0]["Ebs"]["Encrypted"] is True
    user_data = asg.render(launch["UserData"]["Fn::Base64"])
    # Without it, no worker would receive a spot notice in time.
    assert "ECS_ENABLE_SPOT_INSTANCE_DRAINING=true" in user_data
    assert "ECS_CONTAINER_STOP_TIMEOUT=110s" in user_data


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
        found = template.get("Outputs", {}).items()
        return {name for name, output in found if "Export" not in output}

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
