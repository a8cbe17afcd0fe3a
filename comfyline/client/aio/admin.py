"""What an operator sees and does: `client.admin`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal

from comfyline.client.aio.api import AsyncApi
from comfyline.contract.limits import DEFAULT_FAILURE_DAYS
from comfyline.contract.v1 import failures, fleet


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
