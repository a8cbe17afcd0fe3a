"""What an operator sees and does: `client.admin`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Literal

from comfyline.client.aio.api import AsyncApi
from comfyline.client.options import key_path
from comfyline.contract.limits import DEFAULT_FAILURE_DAYS
from comfyline.contract.v1 import accounts, failures, fleet, trouble
from comfyline.contract.v1.access import KeyView
from comfyline.contract.v1.switches import SwitchesView


class AsyncAdmin:
    """The calls for operators. Each raises Forbidden if the key lacks the scope `admin`."""

    def __init__(self, api: AsyncApi) -> None:
        self._api = api

    async def workers(self) -> fleet.WorkerList:
        """The active workers, and what they do."""
        return await self._api.call(fleet.WorkerList, "GET", "/admin/workers")

    async def queues(self) -> fleet.QueueList:
        """What waits in each lane, what the scaler does about it, and how much has failed."""
        return await self._api.call(fleet.QueueList, "GET", "/admin/queues")

    async def errors(self, days: int = DEFAULT_FAILURE_DAYS) -> failures.FailureList:
        """What has failed within the last days (1 to 30), in groups."""
        params = {"days": days}
        return await self._api.call(failures.FailureList, "GET", "/admin/errors", params=params)

    async def jobs(
        self, status: Literal["queued", "running"] | None = None, limit: int = 20
    ) -> AsyncIterator[fleet.LiveJobPage]:
        """The jobs of all owners that have not ended, in pages of `limit` (1 to 100).

        With a status a page may be empty although later pages are not, because each searches 1,000
        jobs.
        """
        params: dict[str, str | int] = {"limit": limit} | ({"status": status} if status else {})
        while True:
            page = await self._api.call(fleet.LiveJobPage, "GET", "/admin/jobs", params=params)
            yield page
            if page.next_cursor is None:
                return
            params = {**params, "cursor": page.next_cursor}

    async def owners(self, limit: int = 20) -> AsyncIterator[accounts.OwnerPage]:
        """The owners that have keys, by name, in pages of `limit` (1 to 100)."""
        params: dict[str, str | int] = {"limit": limit}
        while True:
            page = await self._api.call(accounts.OwnerPage, "GET", "/admin/owners", params=params)
            yield page
            if page.next_cursor is None:
                return
            params = {**params, "cursor": page.next_cursor}

    async def keys(self, limit: int = 100) -> AsyncIterator[accounts.KeyPage]:
        """The keys of all owners, in pages of `limit` (1 to 100), of which some may be empty."""
        params: dict[str, str | int] = {"limit": limit}
        while True:
            page = await self._api.call(accounts.KeyPage, "GET", "/admin/keys", params=params)
            yield page
            if page.next_cursor is None:
                return
            params = {**params, "cursor": page.next_cursor}

    async def disable_key(self, key_id: str) -> KeyView:
        """Disable a key for good, and with it the keys that it has made.

        Raises:
            NotFound: there is no such key.
        """
        return await self._api.call(KeyView, "POST", f"/admin{key_path(key_id)}/disable")

    async def limit_key(self, key_id: str, limits: Mapping[str, int]) -> KeyView:
        """Replace the limits of a key; `limits` has the names of `KeyLimits`.

        Raises:
            NotFound: there is no such key.
        """
        path, body = f"/admin{key_path(key_id)}/limits", {"limits": dict(limits)}
        return await self._api.call(KeyView, "PUT", path, body=body)

    async def end_sessions(self, owner: str, key_id: str | None = None) -> int:
        """End the console's sessions of the owner, or of the person; returns how many.

        `key_id`: only the sessions of this key of the owner.
        """
        body, ended = {"owner": owner, **({"key_id": key_id} if key_id else {})}, 0
        while True:
            answer = await self._api.call(
                accounts.SessionsEnded, "POST", "/admin/sessions/end", body=body
            )
            ended += answer.ended
            if not answer.more:
                return ended

    async def dead_letters(self) -> trouble.DeadLetterList:
        """Some tickets that were delivered too often, with their jobs. They stay in the queue."""
        return await self._api.call(trouble.DeadLetterList, "GET", "/admin/dead-letters")

    async def redrive(self) -> trouble.RedriveAnswer:
        """Handle up to 50 tickets that were delivered too often: live jobs get new tickets."""
        return await self._api.call(trouble.RedriveAnswer, "POST", "/admin/dead-letters/redrive")

    async def switches(self) -> SwitchesView:
        """Whether the service accepts jobs and sockets."""
        return await self._api.call(SwitchesView, "GET", "/admin/switches")

    async def set_switches(
        self,
        *,
        jobs_enabled: bool | None = None,
        sockets_enabled: bool | None = None,
        seen: SwitchesView | None = None,
    ) -> SwitchesView:
        """Pause or resume the service; None leaves a switch as it is. It takes 30 s at most.

        `seen`: the switches as `switches` has returned them; without it they are read first.

        Raises:
            Conflict: another operator has changed a switch since then. Nothing was changed.
        """
        seen = seen or await self.switches()
        body = {
            "jobs_enabled": seen.jobs_enabled if jobs_enabled is None else jobs_enabled,
            "sockets_enabled": seen.sockets_enabled if sockets_enabled is None else sockets_enabled,
            "version": seen.version,
        }
        return await self._api.call(SwitchesView, "PUT", "/admin/switches", body=body)

    async def alarms(self) -> trouble.AlarmList:
        """The deployment's alarms, those that are raised first."""
        return await self._api.call(trouble.AlarmList, "GET", "/admin/alarms")
