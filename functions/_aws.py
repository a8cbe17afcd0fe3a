"""The AWS adapters of the functions: with `_tables`, the only module that picks concrete classes.

The import of this module reads and builds nothing. Each adapter is made at its first use, from the
environment variables that it needs, and kept while the function stays warm. In a deployed function
`at_start` is that first use. Each is imported where it is made, botocore too, so that a cold start
loads only what the function uses.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from comfyline.service import settings as of
from functions._tables import Tables

if TYPE_CHECKING:
    from comfyline.adapters.aws.alarms import CloudWatchAlarms
    from comfyline.adapters.aws.files.artifacts import S3ArtifactStore
    from comfyline.adapters.aws.files.uploads import S3UploadStore
    from comfyline.adapters.aws.fleet.scaler import LambdaScaler
    from comfyline.adapters.aws.fleet.scaling import EcsFleet, SqsBacklog
    from comfyline.adapters.aws.jobs.parking import SqsParking
    from comfyline.adapters.aws.live.greeter import LambdaGreeter
    from comfyline.adapters.aws.live.relay import LambdaRelay
    from comfyline.adapters.aws.live.sockets import ApiGatewaySockets
    from comfyline.adapters.aws.metrics import BufferedEmfMetrics, EmfMetrics
    from comfyline.adapters.aws.queue import SqsDeadLetters, SqsJobQueue
    from comfyline.adapters.oidc.issuer import OidcIssuer
    from comfyline.service.access.people import SignInRules
    from comfyline.service.clock import Clock


class Aws(Tables):
    """The adapters, one attribute each. A test may pass other clients, or override an attribute."""

    @cached_property
    def sign_in_rules(self) -> SignInRules | None:
        """None if people have keys only."""
        from comfyline.service.access.people import SignInRules

        return SignInRules.parse(self.settings(of.SignInSettings).sign_in)

    def issuer(self, rules: SignInRules, clock: Clock) -> OidcIssuer:
        """A new client of the issuer. The caller keeps it, because it caches the issuer's keys."""
        from comfyline.adapters.oidc.issuer import OidcIssuer

        return OidcIssuer(rules, clock)

    @cached_property
    def parking(self) -> SqsParking:
        from comfyline.adapters.aws.jobs.parking import SqsParking

        return SqsParking(self.client("sqs"), self.settings(of.ParkingQueue).parking_queue_url)

    @cached_property
    def scaler(self) -> LambdaScaler | None:
        """None if this deployment has no scaler."""
        from comfyline.adapters.aws.fleet.scaler import LambdaScaler

        name = self.settings(of.WakeSettings).scaler_function
        return LambdaScaler(self.client("lambda"), name) if name else None

    # --- queues, files and the fleet --------------------------------------------------------------

    @cached_property
    def queue(self) -> SqsJobQueue:
        from comfyline.adapters.aws.queue import SqsJobQueue

        return SqsJobQueue(self.client("sqs"), self.settings(of.QueueSettings).lanes, self._trace)

    def _trace(self) -> str | None:
        # Lambda sets it anew for each call, whether or not the call is sampled.
        return self._environ.get("_X_AMZN_TRACE_ID")

    @cached_property
    def backlog(self) -> SqsBacklog:
        from comfyline.adapters.aws.fleet.scaling import SqsBacklog

        urls = tuple(self.settings(of.QueueSettings).lanes.values())
        return SqsBacklog(self.client("sqs"), urls)

    @cached_property
    def alarms(self) -> CloudWatchAlarms:
        from comfyline.adapters.aws.alarms import CloudWatchAlarms

        prefix = self.settings(of.OperatorSettings).alarm_prefix
        return CloudWatchAlarms(self.client("cloudwatch"), prefix)

    @cached_property
    def dead_letters(self) -> SqsDeadLetters:
        from comfyline.adapters.aws.queue import SqsDeadLetters

        url = self.settings(of.DeadLetterQueue).dead_letter_queue_url
        return SqsDeadLetters(self.client("sqs"), url)

    @cached_property
    def dead_letter_backlog(self) -> SqsBacklog:
        from comfyline.adapters.aws.fleet.scaling import SqsBacklog

        url = self.settings(of.DeadLetterQueue).dead_letter_queue_url
        return SqsBacklog(self.client("sqs"), [url])

    @cached_property
    def parked_backlog(self) -> SqsBacklog:
        from comfyline.adapters.aws.fleet.scaling import SqsBacklog

        url = self.settings(of.ParkingQueue).parking_queue_url
        return SqsBacklog(self.client("sqs"), [url])

    @cached_property
    def fleet(self) -> EcsFleet:
        from comfyline.adapters.aws.fleet.scaling import EcsFleet

        return EcsFleet(self.client("ecs"), self.settings(of.ScalerSettings).cluster)

    @cached_property
    def artifacts(self) -> S3ArtifactStore:
        from comfyline.adapters.aws.files.artifacts import S3ArtifactStore

        return S3ArtifactStore(self.client("s3"), self._bucket, signer=self._signer)

    @cached_property
    def uploads(self) -> S3UploadStore:
        from comfyline.adapters.aws.files.uploads import S3UploadStore

        return S3UploadStore(self.client("s3"), self._bucket, signer=self._signer)

    @property
    def _bucket(self) -> str:
        return self.settings(of.ArtifactsBucket).artifacts_bucket

    @property
    def _signer(self) -> Any:
        """Signs URLs for callers, which may reach S3 at another address than functions do."""
        return self.client("s3", self.settings(of.ArtifactsBucket).s3_public_endpoint)

    # --- sockets and metrics ----------------------------------------------------------------------

    @cached_property
    def sockets(self) -> ApiGatewaySockets:
        from comfyline.adapters.aws.live.sockets import ApiGatewaySockets, callback_url

        known = self.settings(of.SocketSettings)
        region = self.client("dynamodb").meta.region_name  # every function with sockets has it
        url = callback_url(known.websocket_api_id, known.websocket_stage, region)
        return ApiGatewaySockets(self.client("apigatewaymanagementapi", url))

    @property
    def socket_url(self) -> str:
        """The address at which clients open sockets."""
        from comfyline.adapters.aws.live.sockets import public_url

        known = self.settings(of.SocketAddress)
        return public_url(known.websocket_url, known.websocket_api_id, known.websocket_stage)

    @cached_property
    def greeter(self) -> LambdaGreeter:
        from comfyline.adapters.aws.live.greeter import LambdaGreeter

        name = self.settings(of.GreeterSettings).greeter_function
        return LambdaGreeter(self.client("lambda"), name)

    @cached_property
    def relay(self) -> LambdaRelay:
        from comfyline.adapters.aws.live.relay import LambdaRelay

        name = self.settings(of.RelaySettings).relay_function
        return LambdaRelay(self.client("lambda"), name)

    @contextmanager
    def grouped_metrics(self) -> Iterator[BufferedEmfMetrics]:
        """Metrics of the block, written at its end in as few lines as possible."""
        from comfyline.adapters.aws.metrics import BufferedEmfMetrics

        metrics = BufferedEmfMetrics(self.settings(of.MeasuredSettings).metrics_namespace)
        yield metrics
        metrics.flush()

    @cached_property
    def metrics(self) -> EmfMetrics:
        from comfyline.adapters.aws.metrics import EmfMetrics

        return EmfMetrics(self.settings(of.MeasuredSettings).metrics_namespace)
