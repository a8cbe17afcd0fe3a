"""The CDK app: the stacks of one deployment, which a deployment file describes.

An emulator has no GPUs. It gets the stacks that work on a job, without fleet, scaler and alarms.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from aws_cdk import Annotations, App, CrossStackReferences, ReferenceStrength

from infra import console
from infra.assets import code_assets, has_bytecode
from infra.declarations import CONSOLE_FOLDER
from infra.deployment import Deployment
from infra.deployment_file import WrongDeployment, read_deployment
from infra.platform import adapt, add_tags
from infra.stacks.api import ApiStack
from infra.stacks.data import DataStack
from infra.stacks.edge import EdgeStack
from infra.stacks.firewall import FirewallStack
from infra.stacks.fleet import FleetStack
from infra.stacks.observability import ObservabilityStack
from infra.stacks.scaler import ScalerStack
from infra.stacks.worker import WorkerStack

# Set here and not in cdk.json, so that the templates are the same without the CDK's CLI.
FEATURES = {
    # Stacks read each other's outputs. An upgrade may then change or remove any output, while
    # CloudFormation would refuse to change an export that another stack imports. What holds data is
    # exported nevertheless: see DataStack.
    "@aws-cdk/core:defaultCrossStackReferences": "weak",
}


NO_BYTECODE = (
    "The functions' code is not compiled, because this machine has no Python 3.13. Each cold start "
    "compiles it, for about twice the CPU time. Install Python 3.13 and deploy again."
)


IMAGE_BY_TAG = (
    "worker.image names a tag. If the tag is moved to another image, workers that start later run "
    "that one, and a rollback does not bring the earlier one back. Name the image by its digest "
    "(`...@sha256:...`), which `make image` prints."
)


def new_app(outdir: str) -> App:
    """An app that writes its templates to `outdir`."""
    return App(context=FEATURES, outdir=outdir, analytics_reporting=False)


def add_stacks(app: App, deployment: Deployment, assets: Mapping[str, Path]) -> None:
    """Declare the stacks. They name no account or region: the credentials at deployment decide.

    `assets` are those of `code_assets`.
    """
    if deployment.is_local:
        # LocalStack knows exports; Fn::GetStackOutput was not tried there.
        CrossStackReferences.of(app).consume(ReferenceStrength.STRONG)
    add_tags(app, deployment)
    name = deployment.stack_name
    data = DataStack(app, name("data"), deployment=deployment)
    if deployment.is_local:
        ApiStack(
            app,
            name("api"),
            deployment=deployment,
            data=data,
            assets=assets,
            scaler=None,
        )
        WorkerStack(app, name("worker"), deployment=deployment, data=data)
        return
    models = deployment.worker.models_bucket or data.artifacts.bucket_name
    fleet = FleetStack(app, name("fleet"), deployment=deployment, models=models)
    worker = WorkerStack(app, name("worker"), deployment=deployment, data=data, fleet=fleet)
    if not deployment.worker.image_is_pinned:
        Annotations.of(worker).add_warning_v2("comfyline:ImageByTag", IMAGE_BY_TAG)
    scaler = ScalerStack(app, name("scaler"), deployment=deployment, data=data, assets=assets)
    scaler.add_stack_dependency(worker)  # it knows the services by name only
    api = ApiStack(app, name("api"), deployment=deployment, data=data, assets=assets, scaler=scaler)
    if not all(map(has_bytecode, assets.values())):
        Annotations.of(api).add_warning_v2("comfyline:NoBytecode", NO_BYTECODE)
    ObservabilityStack(
        app, name("observability"), deployment=deployment, data=data, api=api, scaler=scaler
    )
    if deployment.has_edge:
        # It asks both stacks for their outputs, so it is deployed after them: the APIs accept a new
        # secret before the edge sends it.
        EdgeStack(
            app,
            name("edge"),
            deployment=deployment,
            data=data,
            api=api,
            console=assets[CONSOLE_FOLDER] / CONSOLE_FOLDER,
            firewall=FirewallStack(app, name("firewall"), deployment=deployment)
            if deployment.edge.web_acl
            else None,
        )
    adapt(app, deployment)


def main() -> None:
    """Write the templates of the deployment that `-c deployment=<file>` names."""
    app = new_app(os.environ.get("CDK_OUTDIR", "cdk.out"))  # the CDK's CLI sets the variable
    file = app.node.try_get_context("deployment")
    if not isinstance(file, str):
        sys.exit("infra: add -c deployment=<file>, such as deployments/dev.toml")
    try:
        deployment = read_deployment(Path(file))
    except WrongDeployment as error:
        sys.exit(str(error))
    if deployment.target != "local":  # `make up` has built it, and `make run` needs none
        console.build()
    add_stacks(app, deployment, code_assets(deployment))
    app.synth()


if __name__ == "__main__":
    main()
