"""The CDK app: the stacks of one deployment. deployment.py has the context keys.

An emulator has no GPUs: it takes what works on a job, and neither the fleet nor what watches it.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

from aws_cdk import App, Tags
from aws_cdk import aws_lambda as lambda_

from infra.assets import CodeAsset, code_asset
from infra.deployment import Deployment
from infra.stacks.api import ApiStack
from infra.stacks.data import DataStack
from infra.stacks.fleet import FleetStack
from infra.stacks.observability import ObservabilityStack
from infra.stacks.scaler import ScalerStack
from infra.stacks.worker import WorkerStack

# Set here and not in cdk.json, so that the template is the same without the CDK's CLI.
FEATURES = {
    # Exports: CloudFormation itself refuses to remove what another stack still uses.
    "@aws-cdk/core:defaultCrossStackReferences": "strong",
}


@dataclass(frozen=True, slots=True)
class Stacks:
    """The stacks of one deployment, in the order in which they deploy."""

    data: DataStack
    api: ApiStack
    worker: WorkerStack
    fleet: FleetStack | None = None
    scaler: ScalerStack | None = None
    observability: ObservabilityStack | None = None


def new_app(outdir: str) -> App:
    """An app that writes its templates to `outdir`."""
    return App(context=FEATURES, outdir=outdir, analytics_reporting=False)


def add_stacks(app: App, deployment: Deployment, asset: CodeAsset) -> Stacks:
    """Declare the deployment. The stacks know no account or region: the one deployed to decides."""

    def code() -> lambda_.Code:  # CDK wants one for each stack; it is uploaded once
        return lambda_.Code.from_asset(str(asset.folder), asset_hash=asset.digest)

    name = deployment.stack_name
    data = DataStack(app, name("data"), deployment=deployment)
    api = ApiStack(app, name("api"), deployment=deployment, data=data, code=code())
    tag(app, deployment)
    if deployment.is_local:
        worker = WorkerStack(app, name("worker"), deployment=deployment, data=data)
        return Stacks(data, api, worker)
    fleet = FleetStack(app, name("fleet"), deployment=deployment)
    worker = WorkerStack(app, name("worker"), deployment=deployment, data=data, fleet=fleet)
    scaler = ScalerStack(app, name("scaler"), deployment=deployment, data=data, code=code())
    observability = ObservabilityStack(
        app,
        name("observability"),
        deployment=deployment,
        data=data,
        api=api,
        scaler=scaler,
    )
    return Stacks(data, api, worker, fleet, scaler, observability)


def tag(app: App, deployment: Deployment) -> None:
    """Let costs be told apart by environment."""
    Tags.of(app).add("project", "comfyline")
    Tags.of(app).add("environment", deployment.env)


def main() -> None:
    """Write the templates of the deployment that the context describes."""
    # The CLI says where by this variable.
    app = new_app(os.environ.get("CDK_OUTDIR", "cdk.out"))
    try:
        deployment = Deployment.from_context(app.node.try_get_context)
    except ValueError as error:
        sys.exit(f"infra: {error}")
    add_stacks(app, deployment, code_asset(deployment))
    app.synth()


if __name__ == "__main__":
    main()
