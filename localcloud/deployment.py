"""Deploys an assembly as the CDK does: assets to the bucket, stacks to CloudFormation."""

from __future__ import annotations

import io
import logging
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError, WaiterError

from localcloud.emulator import ACCOUNT, REGION, Emulator
from localcloud.synthesis import Assembly, Asset, SynthesisedStack

# `cdk bootstrap` writes this parameter to an account, and every CDK template reads it.
BOOTSTRAP_PARAMETER = "/cdk-bootstrap/hnb659fds/version"
BOOTSTRAP_VERSION = "30"
WAITER = {"Delay": 1, "MaxAttempts": 60}

_log = logging.getLogger(__name__)


class DeploymentFailed(Exception):
    """CloudFormation refused a stack; the message contains its reasons."""


def deploy(assembly: Assembly, emulator: Emulator) -> dict[str, str]:
    """Create or update every stack, and return the outputs of all stacks.

    Raises:
        DeploymentFailed: CloudFormation refused a stack.
    """
    _bootstrap(emulator)
    outputs: dict[str, str] = {}
    for stack in assembly.stacks():
        publish(stack.assets, emulator)
        outputs |= deploy_stack(stack, emulator)
    return outputs


def _bootstrap(emulator: Emulator) -> None:
    emulator.client("ssm").put_parameter(
        Name=BOOTSTRAP_PARAMETER, Value=BOOTSTRAP_VERSION, Type="String", Overwrite=True
    )


# --- assets ---------------------------------------------------------------------------------------


def publish(assets: Sequence[Asset], emulator: Emulator) -> None:
    """Upload the assets to the places that the templates name."""
    s3 = emulator.client("s3")
    for bucket in {_filled(asset.bucket) for asset in assets}:
        s3.create_bucket(Bucket=bucket)
    for asset in assets:
        body = zipped(asset.path) if asset.is_folder else asset.path.read_bytes()
        s3.put_object(Bucket=_filled(asset.bucket), Key=_filled(asset.key), Body=body)


def zipped(folder: Path) -> bytes:
    """The folder as a zip. The same files give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                entry = zipfile.ZipInfo(path.relative_to(folder).as_posix())
                entry.external_attr = 0o644 << 16
                archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _filled(text: str) -> str:
    return text.replace("${AWS::AccountId}", ACCOUNT).replace("${AWS::Region}", REGION)


# --- stacks ---------------------------------------------------------------------------------------


def deploy_stack(stack: SynthesisedStack, emulator: Emulator) -> dict[str, str]:
    """Create the stack, or update it if it exists, and return its outputs."""
    template = f"{emulator.url}/{_filled(stack.template.bucket)}/{_filled(stack.template.key)}"
    return apply_template(stack.name, {"TemplateURL": template}, emulator)


def apply_template(name: str, template: dict[str, str], emulator: Emulator) -> dict[str, str]:
    """Create or update the stack with that template, and return its outputs.

    Raises:
        DeploymentFailed: CloudFormation refused the stack.
    """
    cloudformation = emulator.client("cloudformation")
    request = {"StackName": name, "Capabilities": ["CAPABILITY_NAMED_IAM"], **template}
    try:
        _create_or_update(cloudformation, request)
    except (ClientError, WaiterError) as error:
        reasons = _reasons(cloudformation, name)
        message = f"The stack {name} could not be deployed: {error}\n{reasons}"
        raise DeploymentFailed(message) from error
    (described,) = cloudformation.describe_stacks(StackName=name)["Stacks"]
    _log.info("stack deployed", extra={"action": "stack_deployed", "stack": name})
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
