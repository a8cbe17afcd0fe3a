from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from comfyui_sim.options import Options
from comfyui_sim.server import Simulator
from tests.contract.comfyui_sim.client import Client


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    async with (
        Simulator(Options(data_dir=tmp_path, port=0, step_ms=5)) as simulator,
        aiohttp.ClientSession(simulator.url) as session,
    ):
        yield Client(session)
