"""The scaler: the function that sets the number of workers, and the table with its state."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from aws_cdk import RemovalPolicy, Stack
from aws_cdk import aws_dynamodb as ddb
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from comfyline.service.fleet.capacity import Capacity
from infra.constructs.function import FunctionCode, python_function
from infra.constructs.triggers import add_triggers
from infra.deployment import Deployment
from infra.functions import FUNCTIONS
from infra.grants import Resource
from infra.stacks.data import DataStack

DESCRIPTION = "Comfyline: the function that sets the number of workers"


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
        super().__init__(scope, name, stack_name=name, description=DESCRIPTION)
        self.table = ddb.TableV2(
            self,
            "Scaling",
            partition_key=ddb.Attribute(name="pk", type=ddb.AttributeType.STRING),
            billing=ddb.Billing.on_demand(),
            time_to_live_attribute="ttl",
            removal_policy=RemovalPolicy.DESTROY,  # it holds only the needs of the last minutes
        )
        values = {
            **data.values,
            "scaling": deployment.scaling.model_dump_json(),
            "metrics_namespace": deployment.metrics_namespace,
            "cluster": deployment.cluster_name,
            "scaling_table": self.table.table_name,
        }
        arns = {
            **data.arns,
            Resource.FLEET: self._service_arns(deployment),
            Resource.SCALING: [self.table.table_arn],
        }
        code = FunctionCode(assets)
        self.functions = dict[str, lambda_.Function]()
        for row in (row for row in FUNCTIONS.values() if row.stack == "scaler"):
            self.functions[row.name] = function = python_function(
                self, row, deployment=deployment, code=code, values=values, arns=arns
            )
            add_triggers(self, row, function, jobs=data.jobs, queues={}, deployment=deployment)

    @property
    def values(self) -> dict[str, str]:
        """What settle_jobs needs to wake the scaler, by the names of its settings."""
        return {
            "scaler_function": self.function.function_name,
            "scaling_table": self.table.table_name,
        }

    @property
    def function(self) -> lambda_.Function:
        """The scaler itself."""
        return self.functions["ScaleWorkers"]

    def _service_arns(self, deployment: Deployment) -> list[str]:
        cluster = deployment.cluster_name
        if deployment.is_local:  # the emulator checks a call for a service against its cluster
            return [self.format_arn(service="ecs", resource="cluster", resource_name=cluster)]
        return [
            self.format_arn(service="ecs", resource="service", resource_name=f"{cluster}/{name}")
            for name in Capacity
        ]
