from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.whole_service import WholeService, simulated_service


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[WholeService]:
    """The service with a worker. Tests share it, as callers of a deployment do."""
    async with (
        simulated_service(tmp_path_factory.mktemp("engine")) as service,
        service.working(),
    ):
        yield service
