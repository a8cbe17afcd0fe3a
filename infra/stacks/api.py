"""The HTTP API, the WebSocket API, and the functions that they and other triggers call."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from aws_cdk import ArnFormat, CfnOutput, Duration, RemovalPolicy, Stack
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from comfyline.service.settings import PublicAddress
from infra.constructs.domains import custom_domains
from infra.constructs.function import FunctionCode, called_as, python_function
from infra.constructs.http_api import http_api
from infra.constructs.triggers import add_triggers
from infra.constructs.websocket_api import STAGE, JobsWebSocketApi
from infra.deployment import Deployment
from infra.functions import FUNCTIONS, ROUTES
from infra.grants import Resource
from infra.rows.background import SETTLE_TIMEOUT
from infra.stacks.data import DataStack
from infra.stacks.scaler import ScalerStack

PARKING_RETENTION = Duration.days(14)  # the longest that SQS allows
# Before the first try from the queue, because a step that has just failed twice would fail again
# if it were tried at once.
PARKING_DELAY = Duration.minutes(1)
# Between two tries. Lambda asks for six times the function's timeout.
PARKING_VISIBILITY = Duration.seconds(6 * SETTLE_TIMEOUT)

DESCRIPTION = "Comfyline: the HTTP API, the WebSocket API and their functions"


class ApiStack(Stack):
    """Every function but the scaler, with the APIs and the triggers that call it."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        deployment: Deployment,
        data: DataStack,
        assets: Mapping[str, Path],
        scaler: ScalerStack | None,
    ) -> None:
        super().__init__(scope, name, stack_name=name, description=DESCRIPTION)
        self._data, self._deployment, self._scaler = data, deployment, scaler
        api_domain, socket_domain = custom_domains(self, deployment)
        self._sockets = JobsWebSocketApi(
            self, "WebSocket", deployment=deployment, domain=socket_domain
        )
        self.parking = sqs.Queue(
            self,
            "Parking",
            retention_period=PARKING_RETENTION,
            delivery_delay=PARKING_DELAY,
            visibility_timeout=PARKING_VISIBILITY,
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=not deployment.is_local,
            removal_policy=RemovalPolicy.DESTROY,
        )
        self.functions = dict[str, lambda_.Function]()
        self._callees = dict[str, lambda_.IFunction]()  # what callers call: functions or aliases
        self._make_functions(FunctionCode(assets))
        self._sockets.add_routes(self._callees)
        if deployment.is_local:
            _read_first(self.functions["PushUpdates"], before=self.functions["SettleJobs"])
        self.http_api = http_api(
            self,
            functions=self._callees,
            deployment=deployment,
            domain=api_domain,
        )
        if not deployment.is_local:  # behind an emulator only its user knows the address
            public_url = deployment.api.public_url or self._http_url
            for row in FUNCTIONS.values():
                if PublicAddress in row.settings:
                    self.functions[row.name].add_environment("PUBLIC_URL", public_url)
        self._write_outputs()

    def _make_functions(self, code: FunctionCode) -> None:
        values, arns = self._values(), self._arns()
        queues = {Resource.DEAD_LETTERS: self._data.dead_letters, Resource.PARKING: self.parking}
        for row in (row for row in FUNCTIONS.values() if row.stack == "api"):
            self.functions[row.name] = function = python_function(
                self, row, deployment=self._deployment, code=code, values=values, arns=arns
            )
            self._callees[row.name] = callee = called_as(row, function, self._deployment)
            add_triggers(
                self,
                row,
                callee,
                jobs=self._data.jobs,
                queues=queues,
                deployment=self._deployment,
            )
            if row.name == "SocketSubscribe":  # SocketConnect, a later row, calls it
                values["greeter_function"] = callee.function_name
                arns[Resource.GREETER] = [callee.function_arn]
            if row.name == "PushChunk":  # PushUpdates, a later row, calls it
                values["relay_function"] = callee.function_name
                arns[Resource.RELAY] = [callee.function_arn]

    @property
    def socket_api_id(self) -> str:
        """The id of the WebSocket API."""
        return self._sockets.api.api_id

    @property
    def _socket_url(self) -> str:
        if self._deployment.has_edge:
            return f"wss://{self._deployment.edge.domain}/{STAGE}"
        domain = self._deployment.api.socket_domain
        return f"wss://{domain}" if domain else self._sockets.stage.url

    @property
    def _http_url(self) -> str:
        domain = self._deployment.edge.domain or self._deployment.api.domain
        return f"https://{domain}" if domain else self.http_api.api_endpoint

    @property
    def _has_alarms(self) -> bool:
        return self._deployment.alarms.enabled and not self._deployment.is_local

    @property
    def _alarms_arn(self) -> str:
        # CloudWatch checks a search by prefix against all alarms.
        return self.format_arn(
            service="cloudwatch",
            resource="alarm",
            resource_name="*",
            arn_format=ArnFormat.COLON_RESOURCE_NAME,
        )

    def _values(self) -> dict[str, str]:
        endpoint = self._deployment.functions.s3_public_endpoint
        accepted = self._deployment.accepted_edge_secrets
        return {
            **self._data.values,
            **({"s3_public_endpoint": endpoint} if endpoint else {}),
            **({"edge_secrets": accepted} if self._deployment.requires_edge else {}),
            **({"sign_in": sign_in} if (sign_in := self._deployment.sign_in.as_setting) else {}),
            "websocket_api_id": self._sockets.api.api_id,
            "websocket_stage": STAGE,
            "websocket_url": self._socket_url,
            "metrics_namespace": self._deployment.metrics_namespace,
            "engine_version": self._deployment.worker.engine_version,
            "max_waits": str(self._deployment.max_waits),
            "requests_per_minute": str(self._deployment.owner_requests_per_minute),
            "routes": ",".join(route.key for route in ROUTES),
            "parking_queue_url": self.parking.queue_url,
            "stage": self._deployment.stage,
            "alarm_prefix": self._deployment.cluster_name if self._has_alarms else "",
            **(self._scaler.values if self._scaler else {}),
        }

    def _arns(self) -> dict[Resource, list[str]]:
        return {
            **self._data.arns,
            Resource.PARKING: [self.parking.queue_arn],
            Resource.ALARMS: [self._alarms_arn] if self._has_alarms else [],
            Resource.SOCKETS: [self._sockets.sockets_arn],
            Resource.SCALER: [self._scaler.function.function_arn] if self._scaler else [],
            Resource.SCALING: [self._scaler.table.table_arn] if self._scaler else [],
        }

    def _write_outputs(self) -> None:
        outputs = {
            "HttpApiId": (self.http_api.api_id, "Id of the HTTP API"),
            "HttpApiUrl": (
                self._http_url,
                "Address of the HTTP API: COMFYLINE_URL",
            ),
            "WebSocketApiId": (self._sockets.api.api_id, "Id of the WebSocket API"),
            "WebSocketStage": (STAGE, "Stage of the WebSocket API"),
            "WebSocketUrl": (
                self._socket_url,
                "Address of the WebSocket API: COMFYLINE_WS_URL",
            ),
            "ParkingQueueUrl": (
                self.parking.queue_url,
                "Queue of the ends of jobs that could not be settled at once",
            ),
        }
        for name, (value, description) in outputs.items():
            CfnOutput(self, name, value=value, description=description)


def _read_first(reader: lambda_.Function, *, before: lambda_.Function) -> None:
    """Create the stream's mapping of `reader` before that of the other function.

    An emulator calls the readers of a stream one after another, in the order of their creation. The
    end of a job must not wait for its settlement before it reaches the subscribers.
    """
    first, second = (
        next(child for child in function.node.children if child.node.id.startswith("DynamoDB"))
        for function in (reader, before)
    )
    second.node.add_dependency(first)
