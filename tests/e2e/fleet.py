"""The scaler's stack in the emulator, which has no GPUs: its ECS services never start a task."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aws_cdk import CrossStackReferences, ReferenceStrength

from comfyline.service.fleet.capacity import Capacity
from infra.app import new_app
from infra.assets import code_assets
from infra.deployment_file import read_deployment
from infra.stacks.data import DataStack
from infra.stacks.scaler import ScalerStack
from localcloud.deployment import deploy_stack, publish
from localcloud.emulator import Emulator
from localcloud.synthesis import SynthesisedStack, stacks

DEPLOYMENT = read_deployment(Path("deployments/local.toml"))
STACK = DEPLOYMENT.stack_name("scaler")
# The emulated ECS starts no task for an unknown task definition, but keeps the desired count.
NO_TASK = "none"


@contextmanager
def deployed_scaler(emulator: Emulator, folder: Path) -> Iterator[None]:
    """Deploy the scaler and an empty ECS service that it resizes; delete both after the block."""
    stack = _synthesised(folder)
    publish(stack.assets, emulator)
    ecs = emulator.client("ecs")
    ecs.create_cluster(clusterName=DEPLOYMENT.cluster_name)
    for name in Capacity:
        ecs.create_service(
            cluster=DEPLOYMENT.cluster_name,
            serviceName=name,
            taskDefinition=NO_TASK,
            desiredCount=0,
        )
    deploy_stack(stack, emulator)
    try:
        yield
    finally:
        cloudformation = emulator.client("cloudformation")
        cloudformation.delete_stack(StackName=STACK)
        cloudformation.get_waiter("stack_delete_complete").wait(
            StackName=STACK, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
        )
        for name in Capacity:
            ecs.delete_service(cluster=DEPLOYMENT.cluster_name, service=name, force=True)


def _synthesised(folder: Path) -> SynthesisedStack:
    """The scaler's stack as infra/ declares it. It imports values that deployed stacks export."""
    app = new_app(str(folder))
    CrossStackReferences.of(app).consume(ReferenceStrength.STRONG)  # as the stacks in the emulator
    data = DataStack(app, DEPLOYMENT.stack_name("data"), deployment=DEPLOYMENT)
    assets = code_assets(DEPLOYMENT)
    ScalerStack(app, STACK, deployment=DEPLOYMENT, data=data, assets=assets)
    app.synth()
    (stack,) = (stack for stack in stacks(folder) if stack.name == STACK)
    return stack


def ask_for_no_worker(emulator: Emulator) -> None:
    """Set the desired counts to 0, as the scaler does after a long idle time."""
    for name in Capacity:
        emulator.client("ecs").update_service(
            cluster=DEPLOYMENT.cluster_name, service=name, desiredCount=0
        )


def workers_asked_for(emulator: Emulator) -> int:
    """The sum of the desired counts that the scaler has set."""
    answer = emulator.client("ecs").describe_services(
        cluster=DEPLOYMENT.cluster_name, services=list(Capacity)
    )
    return sum(int(service["desiredCount"]) for service in answer["services"])
