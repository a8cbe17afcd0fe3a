"""The scaler: the function that sets the number of workers, and the table of recent needs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from aws_cdk import RemovalPolicy, Stack
from aws_cdk import aws_dynamodb as ddb
from constructs import Construct

from infra.constructs.function import FunctionCode, python_function
from infra.constructs.triggers import add_triggers
from infra.constructs.worker_service import SERVICE_NAME
from infra.deployment import Deployment
from infra.functions import FUNCTIONS
from infra.grants import Resource
from infra.stacks.data import DataStack


class ScalerStack(Stack):
    """The scaler knows the fleet by its name alone, so that neither stack depends on the other."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        deployment: Deployment,
        data: DataStack,
        assets: Mapping[str, Path],
    ) -> None:
        super().__init__(scope, name, stack_name=name)
        self.table = ddb.TableV2(
            self,
            "Scaling",
            partition_key=ddb.Attribute(name="pk", type=ddb.AttributeType.STRING),
            billing=ddb.Billing.on_demand(),
            removal_policy=RemovalPolicy.DESTROY,  # it holds only the needs of the last minutes
        )
        row = FUNCTIONS["ScaleWorkers"]
        self.function = python_function(
            self,
            row,
            deployment=deployment,
            code=FunctionCode(assets),
            values={
                **data.values,
                "scaling": deployment.scaling.model_dump_json(),
                "metrics_namespace": deployment.metrics_namespace,
                "cluster": deployment.cluster_name,
                "service": SERVICE_NAME,
                "scaling_table": self.table.table_name,
            },
            arns={
                **data.arns,
                Resource.FLEET: [self._service_arn(deployment)],
                Resource.SCALING: [self.table.table_arn],
            },
        )
        add_triggers(self, row, self.function, jobs=data.jobs, queues={}, deployment=deployment)

    @property
    def values(self) -> dict[str, str]:
        """What settle_jobs needs to wake the scaler, by the names of its settings."""
        return {
            "scaler_function": self.function.function_name,
            "scaling_table": self.table.table_name,
        }

    def _service_arn(self, deployment: Deployment) -> str:
        kind, name = "service", f"{deployment.cluster_name}/{SERVICE_NAME}"
        if deployment.is_local:  # the emulator checks a call for a service against its cluster
            kind, name = "cluster", deployment.cluster_name
        return self.format_arn(service="ecs", resource=kind, resource_name=name)
