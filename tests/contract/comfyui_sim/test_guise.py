"""The simulator can imitate an older version of ComfyUI."""

from __future__ import annotations

import struct
from pathlib import Path

import aiohttp

from comfyui_sim.options import OLD_VERSION, Options
from comfyui_sim.server import Simulator
from tests.contract.comfyui_sim.client import Client, sampling


async def test_an_old_server_has_no_jobs_no_features_and_takes_any_prompt_id(
    tmp_path: Path,
) -> None:
    options = Options(data_dir=tmp_path, port=0, step_ms=1, guise=OLD_VERSION)
    async with (
        Simulator(options) as simulator,
        aiohttp.ClientSession(simulator.url) as session,
    ):
        client = Client(session)
        for path in ("/api/jobs", "/features"):
            assert (await session.get(path)).status == 404
        assert (await session.post("/api/jobs/x/cancel")).status == 404
        assert (await client.get("/system_stats"))["system"]["comfyui_version"] == OLD_VERSION
        await client.listen(handshake=True)
        assert await client.submit(sampling(), prompt_id="job-1") == "job-1"
        frame = await client.until("binary")
        assert struct.unpack(">I", frame[:4]) == (1,)
        assert "feature_flags" not in client.kinds
