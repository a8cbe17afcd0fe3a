"""The AWS adapters of the functions: the only module here that picks concrete classes.

The import of this module reads and builds nothing. Each adapter is made at its first use, from the
environment variables that it needs, and kept while the function stays warm. In a deployed function
`at_start` is that first use. Each is imported where it is made, botocore too, so that a cold start
loads only what the function uses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from comfyline.service import settings as of
from functions._clients import Clients

if TYPE_CHECKING:
    from comfyline.adapters.aws.access.budgets import DynamoBudgetStore
    from comfyline.adapters.aws.access.keys import DynamoKeyStore
    from comfyline.adapters.aws.access.semaphore import DynamoSemaphore
    from comfyline.adapters.aws.access.sessions import DynamoSessionStore
    from comfyline.adapters.aws.access.slots import DynamoOwnerStore
    from comfyline.adapters.aws.access.socket_passes import DynamoSocketPassStore
    from comfyline.adapters.aws.access.tokens import DynamoAllowanceStore, DynamoTokenStore
    from comfyline.adapters.aws.alarms import CloudWatchAlarms
    from comfyline.adapters.aws.files.artifacts import S3ArtifactStore
    from comfyline.adapters.aws.files.assets import DynamoAssetStore
    from comfyline.adapters.aws.files.uploads import S3UploadStore
    from comfyline.adapters.aws.fleet.presence import DynamoPresenceStore
    from comfyline.adapters.aws.fleet.scaler import LambdaScaler
    from comfyline.adapters.aws.fleet.scaling import DynamoScalingMemory, EcsFleet, SqsBacklog
    from comfyline.adapters.aws.graphs import DynamoEngineNodesStore
    from comfyline.adapters.aws.jobs.parking import SqsParking
    from comfyline.adapters.aws.jobs.table import DynamoJobStore
    from comfyline.adapters.aws.ledger import DynamoLedger
    from comfyline.adapters.aws.live.connections import DynamoConnectionStore
    from comfyline.adapters.aws.live.greeter import LambdaGreeter
    from comfyline.adapters.aws.live.relay import LambdaRelay
    from comfyline.adapters.aws.live.sockets import ApiGatewaySockets
    from comfyline.adapters.aws.metrics import BufferedEmfMetrics, EmfMetrics
    from comfyline.adapters.aws.queue import SqsDeadLetters, SqsJobQueue
    from comfyline.adapters.oidc.issuer import OidcIssuer
    from comfyline.service.access.people import SignInRules
    from comfyline.service.clock import Clock

S = TypeVar("S", bound=of.Settings)


class Aws:
    """The adapters, one attribute each. A test may pass other clients, or override an attribute."""

    def __init__(
        self, environ: Mapping[str, str], client: Callable[..., Any] | None = None
    ) -> None:
        self._environ = environ
        self.client = client or Clients()

    def settings(self, model: type[S]) -> S:
        """The settings of that class, read from the environment variables.

        Raises:
            WrongEnvironment: naming each variable that is missing or wrong.
        """
        return model.from_environment(self._environ)

    # --- tables -----------------------------------------------------------------------------------

    @cached_property
    def jobs(self) -> DynamoJobStore:
        from comfyline.adapters.aws.jobs.table import DynamoJobStore

        return DynamoJobStore(self.client("dynamodb"), self.settings(of.JobsTable).jobs_table)

    @cached_property
    def presence(self) -> DynamoPresenceStore:
        from comfyline.adapters.aws.fleet.presence import DynamoPresenceStore

        return DynamoPresenceStore(self.client("dynamodb"), self.settings(of.JobsTable).jobs_table)

    @cached_property
    def engine_nodes(self) -> DynamoEngineNodesStore:
        from comfyline.adapters.aws.graphs import DynamoEngineNodesStore

        table = self.settings(of.JobsTable).jobs_table
        return DynamoEngineNodesStore(self.client("dynamodb"), table)

    @cached_property
    def owners(self) -> DynamoOwnerStore:
        from comfyline.adapters.aws.access.slots import DynamoOwnerStore

        return DynamoOwnerStore(self.client("dynamodb"), self.settings(of.OwnersTable).owners_table)

    @cached_property
    def budgets(self) -> DynamoBudgetStore:
        from comfyline.adapters.aws.access.budgets import DynamoBudgetStore

        table = self.settings(of.OwnersTable).owners_table
        return DynamoBudgetStore(self.client("dynamodb"), table)

    @cached_property
    def allowances(self) -> DynamoAllowanceStore:
        from comfyline.adapters.aws.access.tokens import DynamoAllowanceStore

        table = self.settings(of.OwnersTable).owners_table
        return DynamoAllowanceStore(self.client("dynamodb"), table)

    @cached_property
    def tokens(self) -> DynamoTokenStore:
        from comfyline.adapters.aws.access.tokens import DynamoTokenStore

        return DynamoTokenStore(self.client("dynamodb"), self._connections_table)

    @cached_property
    def wait_places(self) -> DynamoSemaphore:
        from comfyline.adapters.aws.access.semaphore import DynamoSemaphore

        table = self.settings(of.OwnersTable).owners_table
        return DynamoSemaphore(self.client("dynamodb"), table, "waits")

    @cached_property
    def sweep_lock(self) -> DynamoSemaphore:
        from comfyline.adapters.aws.access.semaphore import DynamoSemaphore

        table = self.settings(of.OwnersTable).owners_table
        return DynamoSemaphore(self.client("dynamodb"), table, "sweep")

    @cached_property
    def ledger(self) -> DynamoLedger:
        from comfyline.adapters.aws.ledger import DynamoLedger

        return DynamoLedger(self.client("dynamodb"), self.settings(of.OwnersTable).owners_table)

    @cached_property
    def keys(self) -> DynamoKeyStore:
        from comfyline.adapters.aws.access.keys import DynamoKeyStore

        return DynamoKeyStore(self.client("dynamodb"), self.settings(of.KeysTable).keys_table)

    @cached_property
    def connections(self) -> DynamoConnectionStore:
        from comfyline.adapters.aws.live.connections import DynamoConnectionStore

        return DynamoConnectionStore(self.client("dynamodb"), self._connections_table)

    @cached_property
    def socket_passes(self) -> DynamoSocketPassStore:
        from comfyline.adapters.aws.access.socket_passes import DynamoSocketPassStore

        return DynamoSocketPassStore(self.client("dynamodb"), self._connections_table)

    @cached_property
    def sessions(self) -> DynamoSessionStore:
        from comfyline.adapters.aws.access.sessions import DynamoSessionStore

        return DynamoSessionStore(self.client("dynamodb"), self._connections_table)

    @cached_property
    def sign_in_links(self) -> DynamoSocketPassStore:
        from comfyline.adapters.aws.access.socket_passes import DynamoSocketPassStore

        return DynamoSocketPassStore(self.client("dynamodb"), self._connections_table, "link")

    @cached_property
    def sign_in_rules(self) -> SignInRules | None:
        """None if people have keys only."""
        from comfyline.service.access.people import SignInRules

        return SignInRules.parse(self.settings(of.SignInSettings).sign_in)

    def issuer(self, rules: SignInRules, clock: Clock) -> OidcIssuer:
        """The issuer of these rules; whoever asks for it keeps it, because it keeps keys."""
        from comfyline.adapters.oidc.issuer import OidcIssuer

        return OidcIssuer(rules, clock)

    @cached_property
    def parking(self) -> SqsParking:
        from comfyline.adapters.aws.jobs.parking import SqsParking

        return SqsParking(self.client("sqs"), self.settings(of.ParkingQueue).parking_queue_url)

    @property
    def _connections_table(self) -> str:
        return self.settings(of.ConnectionsTable).connections_table

    @cached_property
    def scaling_memory(self) -> DynamoScalingMemory:
        from comfyline.adapters.aws.fleet.scaling import DynamoScalingMemory

        return DynamoScalingMemory(
            self.client("dynamodb"), self.settings(of.ScalingTable).scaling_table
        )

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

    @cached_property
    def assets(self) -> DynamoAssetStore:
        from comfyline.adapters.aws.files.assets import DynamoAssetStore

        table = self.settings(of.OwnersTable).owners_table
        return DynamoAssetStore(self.client("dynamodb"), table)

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
