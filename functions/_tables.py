"""The adapters of the functions on DynamoDB, as `_aws.py` has the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    from comfyline.adapters.aws.files.assets import DynamoAssetStore
    from comfyline.adapters.aws.fleet.presence import DynamoPresenceStore
    from comfyline.adapters.aws.fleet.scaling import DynamoScalingMemory
    from comfyline.adapters.aws.graphs import DynamoEngineNodesStore
    from comfyline.adapters.aws.jobs.table import DynamoJobStore
    from comfyline.adapters.aws.ledger.table import DynamoLedger
    from comfyline.adapters.aws.live.connections import DynamoConnectionStore

S = TypeVar("S", bound=of.Settings)


class Tables:
    """The adapters on tables, one attribute each."""

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
        from comfyline.adapters.aws.ledger.table import DynamoLedger

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
    def assets(self) -> DynamoAssetStore:
        from comfyline.adapters.aws.files.assets import DynamoAssetStore

        table = self.settings(of.OwnersTable).owners_table
        return DynamoAssetStore(self.client("dynamodb"), table)
