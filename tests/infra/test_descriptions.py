"""Everything that a person sees in an account has a description."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.infra.templates import Json, Templates, own_outputs

# Types of resources with a description, or with another property that a console shows as one.
DESCRIBED = {
    "AWS::ApiGatewayV2::Api": "Description",
    "AWS::CloudWatch::Alarm": "AlarmDescription",
    "AWS::EC2::SecurityGroup": "GroupDescription",
    "AWS::Events::Rule": "Description",
    "AWS::IAM::Role": "Description",
    "AWS::Lambda::Function": "Description",
    "AWS::Scheduler::Schedule": "Description",
}
# Roles that the CDK makes for itself.
OF_THE_CDK = ("SchedulerRoleForTarget",)


def undescribed(template: Json) -> Iterator[str]:
    """The outputs and resources of a template that should have a description and have none."""
    for name, output in own_outputs(template).items():
        if not output.get("Description"):
            yield f"output {name}"
    for name, resource in template["Resources"].items():
        key = DESCRIBED.get(resource["Type"])
        if key and not resource["Properties"].get(key) and not name.startswith(OF_THE_CDK):
            yield f"{resource['Type']} {name}"


@pytest.mark.parametrize("variant", ["aws", "asg", "local"])
def test_everything_has_a_description(request: pytest.FixtureRequest, variant: str) -> None:
    templates: Templates = request.getfixturevalue(variant)
    stacks = [template for template in templates.all if template["Resources"]]
    assert [
        t["Description"] for t in stacks if not t["Description"].startswith("Comfyline: ")
    ] == []
    assert [name for template in stacks for name in undescribed(template)] == []
