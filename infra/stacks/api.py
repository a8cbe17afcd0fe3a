"""What answers a call, a change of a job or the clock: APIs, functions, event sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aws_cdk import CfnOutput, Duration, RemovalPolicy, Stack
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_sqs as sqs
from aws_cdk.aws_lambda_event_sources import DynamoEventSource, SqsDlq, SqsEventSource
from aws_cdk.aws_scheduler_targets import LambdaInvoke
from constructs import Construct

from comfyline.service.settings import (
    AuthorizeSettings,
    AuthorizeSocketSettings,
    CancelJobSettings,
    CreateSocketPassSettings,
    CreateUploadSettings,
    GetJobSettings,
    GetMetricsSettings,
    GetUsageSettings,
    HealthSettings,
    ListEventsSettings,
    ListJobsSettings,
    ListModelsSettings,
    PushUpdatesSettings,
    RedriveTicketsSettings,
    Settings,
    ShowDocsSettings,
    SocketConnectSettings,
    SocketDisconnectSettings,
    SocketSubscribeSettings,
    SubmitJobSettings,
    SweepJobsSettings,
    UnknownRouteSettings,
)
from infra.constructs.domains import custom_domains
from infra.constructs.function import PythonFunction
from infra.constructs.grants import FUNCTION_GRANTS, Arns, Resource
from infra.constructs.http_api import ROUTE_LIST, JobsHttpApi
from infra.constructs.websocket_api import STAGE, JobsWebSocketApi
from infra.deployment import Deployment
from infra.stacks.data import DataStack

# API Gateway waits 10 s for an authorizer and 29 s for a WebSocket route. A function makes a few
# calls of some milliseconds; this leaves room for one cold start and one retried call.
AUTHORIZER_TIMEOUT = Duration.seconds(8)
REQUEST_TIMEOUT = Duration.seconds(10)
# The least of an emulator: there the cold starts of a burst share a few cores, and one that is
# ended for being slow is only begun again. Below SWEEP_EVERY, like SWEEP_TIMEOUT.
LOCAL_TIMEOUT = Duration.seconds(50)
# A caller may prefer to wait for 25 s; the gateway gives up after 30.
WAITING_TIMEOUT = Duration.seconds(29)
# A batch of 100 changes in sequence at worst, each allowed 2 s at a slow client's socket.
PUSH_TIMEOUT = Duration.minutes(4)
SWEEP_EVERY = Duration.minutes(1)
# Shorter than the interval, so that two rounds never run at once.
SWEEP_TIMEOUT = Duration.seconds(55)
# Three calls of some milliseconds for each ticket, some of them retried.
REDRIVE_TIMEOUT = Duration.seconds(30)
REDRIVE_BATCH = 10

STREAM_BATCH = 100
STREAM_PARALLELIZATION = 10  # the most; the order within one job is kept
# A client that hears nothing for 30 s asks over HTTP, so older news is worth nothing; unbounded,
# one poisonous record would hold its shard for 24 h.
STREAM_RETRIES = 3
STREAM_MAX_AGE = Duration.minutes(5)
UNDELIVERED_RETENTION = Duration.days(14)


@dataclass(frozen=True, slots=True)
class _Spec:
    handler: str  # <module>.<function> in functions/
    settings: Settings
    timeout: Duration = REQUEST_TIMEOUT


class ApiStack(Stack):
    """The HTTP API, the WebSocket API, the functions and what triggers them."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        deployment: Deployment,
        data: DataStack,
        code: lambda_.Code,
    ) -> None:
        super().__init__(scope, name, stack_name=name)
        self._data, self._deployment = data, deployment
        api_domain, socket_domain = custom_domains(self, deployment)
        self._sockets = JobsWebSocketApi(self, "WebSocket", domain=socket_domain)
        self.undelivered = sqs.Queue(
            self,
            "UndeliveredUpdates",
            retention_period=UNDELIVERED_RETENTION,
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=not deployment.is_local,
            removal_policy=RemovalPolicy.DESTROY,
        )
        self.functions = functions = self._make_functions(code)
        self._sockets.add_routes(functions)
        self.http = JobsHttpApi(
            self,
            "Http",
            functions=functions,
            allowed_origins=deployment.allowed_origins,
            domain=api_domain,
        )
        self._follow_stream(functions["PushUpdates"])
        self._sweep_every_minute(functions["SweepJobs"])
        functions["RedriveTickets"].add_event_source(
            SqsEventSource(
                data.dead_letters, batch_size=REDRIVE_BATCH, report_batch_item_failures=True
            )
        )
        self._write_outputs()

    def _make_functions(self, code: lambda_.Code) -> dict[str, lambda_.Function]:
        arns = {
            **self._data.arns,
            Resource.UNDELIVERED_UPDATES: [self.undelivered.queue_arn],
            Resource.SOCKETS: [self._sockets.sockets_arn],
        }
        functions = {
            name: self._make(name, spec, code, arns) for name, spec in self._specs().items()
        }
        greeter = functions["SocketSubscribe"]
        connect = SocketConnectSettings(
            connections_table=self._data.connections.table_name,
            greeter_function=greeter.function_name,
        )
        functions["SocketConnect"] = self._make(
            "SocketConnect",
            _Spec("socket_connect.handler", connect),
            code,
            {**arns, Resource.GREETER: [greeter.function_arn]},
        )
        return functions

    def _make(self, name: str, spec: _Spec, code: lambda_.Code, arns: Arns) -> lambda_.Function:
        return PythonFunction(
            self,
            name,
            handler=spec.handler,
            code=code,
            settings=spec.settings,
            grants=FUNCTION_GRANTS[name],
            arns=arns,
            timeout=self._timeout(spec),
            architecture=self._deployment.architecture,
            tracing=self._deployment.tracing,
            log_level=self._deployment.log_level,
        ).function

    def _timeout(self, spec: _Spec) -> Duration:
        if not self._deployment.is_local:
            return spec.timeout
        return max(spec.timeout, LOCAL_TIMEOUT, key=Duration.to_seconds)

    def _specs(self) -> dict[str, _Spec]:
        jobs = {"jobs_table": self._data.jobs.table_name}
        connections = {"connections_table": self._data.connections.table_name}
        bucket = {"artifacts_bucket": self._data.artifacts.bucket_name}
        queues = self._data.queue_urls
        sockets = {"websocket_api_id": self._sockets.api.api_id, "websocket_stage": STAGE}
        owners = {"owners_table": self._data.owners.table_name}
        authorize = AuthorizeSettings(keys_table=self._data.keys.table_name)
        authorize_socket = AuthorizeSocketSettings(
            keys_table=self._data.keys.table_name, **connections
        )
        measured = {"metrics_namespace": self._deployment.metrics_namespace}
        submit = SubmitJobSettings(
            jobs_table=self._data.jobs.table_name,
            owners_table=self._data.owners.table_name,
            artifacts_bucket=self._data.artifacts.bucket_name,
            high_queue_url=queues["high_queue_url"],
            normal_queue_url=queues["normal_queue_url"],
            low_queue_url=queues["low_queue_url"],
            metrics_namespace=self._deployment.metrics_namespace,
        )
        follow = {**jobs, **connections, **bucket, **sockets, **measured}
        push = PushUpdatesSettings(**follow, **owners)
        keys = {"keys_table": self._data.keys.table_name}
        sweep = SweepJobsSettings(**follow, **owners, **queues, **keys)
        return {
            "AuthorizeHttp": _Spec("authorize.http_handler", authorize, AUTHORIZER_TIMEOUT),
            "AuthorizeSocket": _Spec(
                "authorize.socket_handler", authorize_socket, AUTHORIZER_TIMEOUT
            ),
            "SubmitJob": _Spec("submit_job.handler", submit, WAITING_TIMEOUT),
            "Generate": _Spec("generate.handler", submit, WAITING_TIMEOUT),
            "RetryJob": _Spec("retry_job.handler", submit),
            "GetJob": _Spec("get_job.handler", GetJobSettings(**jobs, **bucket, **queues)),
            "ListJobs": _Spec("list_jobs.handler", ListJobsSettings(**jobs)),
            "ListEvents": _Spec("list_events.handler", ListEventsSettings(**jobs)),
            "CancelJob": _Spec("cancel_job.handler", CancelJobSettings(**jobs, **bucket)),
            "CreateUpload": _Spec("create_upload.handler", CreateUploadSettings(**bucket)),
            "CreateSocketPass": _Spec(
                "create_socket_pass.handler", CreateSocketPassSettings(**connections)
            ),
            "ListModels": _Spec("list_models.handler", ListModelsSettings()),
            "GetUsage": _Spec("get_usage.handler", GetUsageSettings(**owners)),
            "GetMetrics": _Spec(
                "get_metrics.handler", GetMetricsSettings(**jobs, **owners, **queues)
            ),
            "ShowOpenapi": _Spec("show_docs.openapi_handler", ShowDocsSettings()),
            "ShowDocs": _Spec("show_docs.page_handler", ShowDocsSettings()),
            "Health": _Spec("health.handler", HealthSettings()),
            "UnknownRoute": _Spec("unknown_route.handler", UnknownRouteSettings(routes=ROUTE_LIST)),
            "SocketDisconnect": _Spec(
                "socket_disconnect.handler", SocketDisconnectSettings(**connections)
            ),
            "SocketSubscribe": _Spec("socket_subscribe.handler", SocketSubscribeSettings(**follow)),
            "PushUpdates": _Spec("push_updates.handler", push, PUSH_TIMEOUT),
            "SweepJobs": _Spec("sweep_jobs.handler", sweep, SWEEP_TIMEOUT),
            "RedriveTickets": _Spec(
                "redrive_tickets.handler",
                RedriveTicketsSettings(**jobs, **queues),
                REDRIVE_TIMEOUT,
            ),
        }

    def _follow_stream(self, push_updates: lambda_.Function) -> None:
        push_updates.add_event_source(
            DynamoEventSource(
                self._data.jobs,
                # LATEST could miss what changes while the mapping is being made.
                starting_position=lambda_.StartingPosition.TRIM_HORIZON,
                batch_size=STREAM_BATCH,
                parallelization_factor=STREAM_PARALLELIZATION,
                report_batch_item_failures=True,
                bisect_batch_on_error=True,
                retry_attempts=STREAM_RETRIES,
                max_record_age=STREAM_MAX_AGE,
                on_failure=SqsDlq(self.undelivered),
                # The rest is told to nobody: of a job that is not watched, its end alone.
                filters=[_job_with("watched_until"), _job_with("expires_at")],
            )
        )

    def _sweep_every_minute(self, sweep_jobs: lambda_.Function) -> None:
        scheduler.Schedule(
            self,
            "EveryMinute",
            schedule=scheduler.ScheduleExpression.rate(SWEEP_EVERY),
            # The next minute is the retry.
            target=LambdaInvoke(sweep_jobs, retry_attempts=0, max_event_age=SWEEP_EVERY),
        )

    def _write_outputs(self) -> None:
        outputs = {
            "HttpApiId": self.http.api.api_id,
            "HttpApiUrl": self.http.api.api_endpoint,
            "WebSocketApiId": self._sockets.api.api_id,
            "WebSocketStage": STAGE,
            "WebSocketUrl": self._sockets.stage.url,
        }
        for name, value in outputs.items():
            CfnOutput(self, name, value=value)


def _job_with(attribute: str) -> Mapping[str, Any]:
    """The changes after which a job's row has this attribute, a number."""
    images = {
        "Keys": {"sk": {"S": lambda_.FilterRule.is_equal("job")}},
        "NewImage": {attribute: {"N": lambda_.FilterRule.exists()}},
    }
    return lambda_.FilterCriteria.filter({"dynamodb": images})
