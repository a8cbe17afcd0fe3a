"""Deploys an assembly as the CDK does: assets to the bucket, stacks to CloudFormation."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError, WaiterError

from localcloud.emulator import ACCOUNT, REGION, Emulator
from localcloud.state import CloudFailed
from localcloud.synthesis import Asset, SynthesisedStack, stacks

# `cdk bootstrap` writes this parameter to an account, and every CDK template reads it.
BOOTSTRAP_PARAMETER = "/cdk-bootstrap/hnb659fds/version"
BOOTSTRAP_VERSION = "30"
WAITER = {"Delay": 1, "MaxAttempts": 60}


def deploy(assembly: Path, emulator: Emulator) -> dict[str, str]:
    """Create or update every stack of the assembly, and return the outputs of all stacks.

    Raises:
        CloudFailed: CloudFormation refused a stack.
    """
    emulator.client("ssm").put_parameter(
        Name=BOOTSTRAP_PARAMETER, Value=BOOTSTRAP_VERSION, Type="String", Overwrite=True
    )
    outputs: dict[str, str] = {}
    for stack in stacks(assembly):
        publish(stack.assets, emulator)
        outputs |= deploy_stack(stack, emulator)
    return outputs


# --- assets ---------------------------------------------------------------------------------------


def publish(assets: Sequence[Asset], emulator: Emulator) -> None:
    """Upload the assets to the places that the templates name."""
    s3 = emulator.client("s3")
    for bucket in {_filled(asset.bucket) for asset in assets}:
        s3.create_bucket(Bucket=bucket)
    for asset in assets:
        body = _zipped(asset.path) if asset.is_folder else asset.path.read_bytes()
        s3.put_object(Bucket=_filled(asset.bucket), Key=_filled(asset.key), Body=body)


def _zipped(folder: Path) -> bytes:
    with tempfile.TemporaryDirectory() as scratch:
        return Path(shutil.make_archive(f"{scratch}/asset", "zip", folder)).read_bytes()


def _filled(text: str) -> str:
    return text.replace("${AWS::AccountId}", ACCOUNT).replace("${AWS::Region}", REGION)


# --- stacks ---------------------------------------------------------------------------------------


def deploy_stack(stack: SynthesisedStack, emulator: Emulator) -> dict[str, str]:
    """Create the stack, or update it if it exists, and return its outputs."""
    outputs = apply_template(stack.name, f"{emulator.url}/{_filled(stack.template)}", emulator)
    _allow_origins(stack, emulator)
    return outputs


def _allow_origins(stack: SynthesisedStack, emulator: Emulator) -> None:
    # The emulator's CloudFormation stores which pages may call an API under the template's names,
    # and its gateway reads the names of the API of API Gateway.
    (template,) = (asset.path for asset in stack.assets if not asset.is_folder)
    cloudformation, gateway = emulator.client("cloudformation"), emulator.client("apigatewayv2")
    for name, resource in json.loads(template.read_text())["Resources"].items():
        cors = resource.get("Properties", {}).get("CorsConfiguration")
        if resource["Type"] == "AWS::ApiGatewayV2::Api" and cors:
            where = {"StackName": stack.name, "LogicalResourceId": name}
            (api,) = cloudformation.describe_stack_resources(**where)["StackResources"]
            gateway.update_api(ApiId=api["PhysicalResourceId"], CorsConfiguration=cors)


def apply_template(name: str, url: str, emulator: Emulator) -> dict[str, str]:
    """Create or update the stack with the template at that URL, and return its outputs.

    Raises:
        CloudFailed: CloudFormation refused the stack.
    """
    cloudformation = emulator.client("cloudformation")
    request = {"StackName": name, "Capabilities": ["CAPABILITY_NAMED_IAM"], "TemplateURL": url}
    try:
        _create_or_update(cloudformation, request)
    except (ClientError, WaiterError) as error:
        reasons = _reasons(cloudformation, name)
        message = f"The stack {name} could not be deployed: {error}\n{reasons}"
        raise CloudFailed(message) from error
    (described,) = cloudformation.describe_stacks(StackName=name)["Stacks"]
    return {o["OutputKey"]: o["OutputValue"] for o in described.get("Outputs", [])}


def _create_or_update(cloudformation: Any, request: dict[str, Any]) -> None:
    name = request["StackName"]
    try:
        cloudformation.create_stack(**request)
        waiter = cloudformation.get_waiter("stack_create_complete")
    except cloudformation.exceptions.AlreadyExistsException:
        try:
            cloudformation.update_stack(**request)
        except ClientError as error:
            if "No updates are to be performed" in str(error):
                return
            raise
        waiter = cloudformation.get_waiter("stack_update_complete")
    waiter.wait(StackName=name, WaiterConfig=WAITER)


def _reasons(cloudformation: Any, name: str) -> str:
    try:
        events = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
    except ClientError:
        return ""
    failed = [e for e in events if e["ResourceStatus"].endswith("FAILED")]
    return "\n".join(f"{e['LogicalResourceId']}: {e.get('ResourceStatusReason')}" for e in failed)
