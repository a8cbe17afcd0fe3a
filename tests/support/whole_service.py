"""The whole service in memory: the HTTP functions, a worker and its engine.

A body goes in as the text of `POST /api/v1/jobs`, and what comes back is what `GET` shows.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from comfyline.adapters.memory.access import InMemoryBudgetStore
from comfyline.adapters.memory.graphs import InMemoryEngineNodesStore
from comfyline.service.files.uploads import StoredUpload
from comfyline.service.graphs.engine_nodes import EngineNodes
from comfyline.service.jobs.job import TERMINAL
from comfyui_sim.options import Options
from comfyui_sim.server import Simulator
from gpu_worker.comfy.keeper import Keeper
from tests.support.builders import now
from tests.support.gateway import ENVIRONMENT, Gateway, Reply
from tests.support.worker_world import WorkerWorld

PATIENCE_SECONDS = 60.0
# The lock of the simulator.
SIMULATED = Path(__file__).parents[2].joinpath("localcloud", "engine.lock.toml")

Body = str | Mapping[str, Any]
View = dict[str, Any]
"""A job as GET shows it."""


class WholeService(WorkerWorld):
    """The deployment in memory, with its HTTP API."""

    def __init__(self, url: str, base: Path, http: httpx.AsyncClient) -> None:
        super().__init__(url, base, http)
        self.engine_nodes = InMemoryEngineNodesStore()
        adapters = {
            "jobs": self.store,
            "queue": self.queue,
            "uploads": self.uploads,
            "artifacts": self.artifacts,
            "owners": self.owners,
            "budgets": InMemoryBudgetStore(),
            "allowances": self.allowances,
            "metrics": self.metrics,
            "engine_nodes": self.engine_nodes,
        }
        self.api = Gateway(
            ENVIRONMENT, now, client=_no_client, lock_file=SIMULATED, adapters=adapters
        )

    async def call(self, method: str, path: str, body: Body = "", *, owner: str = "fox") -> Reply:
        """One request."""
        text = body if isinstance(body, str) else json.dumps(body)
        return await asyncio.to_thread(self.api, method, path, body=text, owner=owner)

    async def post(self, body: Body, *, owner: str = "fox") -> str:
        """The id of a new job."""
        reply = await self.call("POST", "/api/v1/jobs", body, owner=owner)
        assert reply.status == 202, reply.text
        job_id: str = reply.json["job_id"]
        return job_id

    async def ended(self, job_id: str, *, owner: str = "fox") -> View:
        """The job, once it has ended."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                view: View = (await self.call("GET", f"/api/v1/jobs/{job_id}", owner=owner)).json
                if view["status"] in TERMINAL:
                    return view
                await asyncio.sleep(0.02)

    async def run(self, body: Body, *, owner: str = "fox") -> View:
        """A new job, once it has ended."""
        return await self.ended(await self.post(body, owner=owner), owner=owner)

    async def upload(
        self, name: str, content: bytes, content_type: str, *, owner: str = "fox"
    ) -> str:
        """The reference to an uploaded file, as a body's `inputs` name it."""
        form = {"name": name, "content_type": content_type, "bytes": len(content)}
        reply = await self.call("POST", "/api/v1/uploads", form, owner=owner)
        assert reply.status == 201, reply.text
        key = reply.json["fields"]["key"]
        self.uploads.bodies[key] = content
        self.uploads.files[key] = StoredUpload(content_type, len(content), now())
        return f"upload:{reply.json['upload_id']}"

    def read(self, artifact: Mapping[str, Any]) -> bytes:
        """The bytes at the artifact's URL."""
        return self.artifacts.files[urlsplit(artifact["url"]).path.removeprefix("/")].body

    @asynccontextmanager
    async def working(self, keeper: Keeper | None = None) -> AsyncIterator[asyncio.Event]:
        """Run a worker until the block ends. It has published the classes of its engine."""
        async with super().working(keeper) as drain:
            answer = await self.http.get("/object_info")
            self.engine_nodes.publish("unknown", EngineNodes.parse(answer.json()))
            yield drain

    def left_behind(self) -> list[str]:
        """The paths of all files in the engine's three folders."""
        roots = [self.base / name for name in ("input", "output", "temp")]
        files = (path for root in roots for path in root.rglob("*") if not path.is_dir())
        return sorted(str(path.relative_to(self.base)) for path in files)


def _no_client(service: str, endpoint: str | None = None) -> Any:
    raise AssertionError(f"the service in memory uses {service}")


@asynccontextmanager
async def simulated_service(base: Path, **options: Any) -> AsyncIterator[WholeService]:
    """The service with a simulated engine in that folder, and no worker yet."""
    async with (
        Simulator(Options(data_dir=base, port=0, step_ms=1, **options)) as engine,
        httpx.AsyncClient(base_url=engine.url, timeout=30) as http,
    ):
        yield WholeService(engine.url, base, http)
