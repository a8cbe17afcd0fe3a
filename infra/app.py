"""The CDK app: three stacks for one deployment.

Context keys: `env`, `target` (aws | local), `default_checkpoint`, `worker_image`, `lease_seconds`,
`heartbeat_seconds`; see deployment.py.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

from aws_cdk import App
from aws_cdk import aws_lambda as lambda_

from infra.assets import CodeAsset, code_asset
from infra.deployment import Deployment
from infra.stacks.api import ApiStack
from infra.stacks.data import DataStack
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


def new_app(outdir: str) -> App:
    """An app that writes its templates to `outdir`."""
    return App(context=FEATURES, outdir=outdir, analytics_reporting=False)


def add_stacks(app: App, deployment: Deployment, asset: CodeAsset) -> Stacks:
    """Declare the deployment. The stacks know no account or region: the one deployed to decides."""
    code = lambda_.Code.from_asset(str(asset.folder), asset_hash=asset.digest)
    data = DataStack(app, deployment.stack_name("data"), deployment=deployment)
    return Stacks(
        data=data,
        api=ApiStack(
            app, deployment.stack_name("api"), deployment=deployment, data=data, code=code
        ),
        worker=WorkerStack(app, deployment.stack_name("worker"), deployment=deployment, data=data),
    )


def main() -> None:
    """Write the templates of the deployment that the context describes."""
    # The CLI says where by this variable.
    app = new_app(os.environ.get("CDK_OUTDIR", "cdk.out"))
    try:
        deployment = Deployment.from_context(app.node.try_get_context)
    except ValueError as error:
        sys.exit(f"infra: {error}")
    add_stacks(app, deployment, code_asset(deployment.target))
    app.synth()


if __name__ == "__main__":
    main()
