"""What a worker tells whoever scrapes it, over HTTP, parsed by Prometheus' own parser."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from comfyline.adapters.memory.metrics import InMemoryMetrics
from comfyline.service.jobs.job import Status
from comfyline.service.metrics import Metric
from comfyui_sim.options import Options
from comfyui_sim.server import Simulator
from gpu_worker.comfy.engine import ComfyEngine
from gpu_worker.comfy.keeper import ForeignEngine
from gpu_worker.measures import Both, PrometheusMetrics, Stage, timed
from tests.support.dashboard import questions, wrong
from tests.support.eventually import eventually
from tests.support.worker_world import World, a_graph

HERE = "127.0.0.1"
Samples = Mapping[tuple[str, ...], float]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with (
        Simulator(Options(data_dir=tmp_path, port=0, step_ms=2)) as sim,
        httpx.AsyncClient(base_url=sim.url) as http,
    ):
        yield World(sim.url, tmp_path, http)


async def page(port: int) -> str:
    async with httpx.AsyncClient(base_url=f"http://{HERE}:{port}") as client:
        return (await client.get("/metrics")).raise_for_status().text


async def scraped(port: int) -> Samples:
    families = text_string_to_metric_families(await page(port))
    return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}


async def test_a_scrape_tells_what_the_worker_has_done(world: World) -> None:
    prometheus = PrometheusMetrics()
    world.metrics = Both(prometheus, InMemoryMetrics())
    job, rejected = (
        world.submit(a_graph(steps=8)),
        world.submit({"1": {"class_type": "Nothing", "inputs": {}}}),
    )
    drain = asyncio.Event()
    async with ComfyEngine.connected(world.url, ForeignEngine(), world.limits) as engine:
        prometheus.watch(engine)
        with prometheus.served(HERE, 0) as port:
            working = asyncio.create_task(world.worker(engine).work(drain))
            await world.until(job, Status.SUCCEEDED)
            await world.until(rejected, Status.FAILED)
            await eventually(lambda: engine.holders == 0)
            found = await scraped(port)
            drain.set()
            await asyncio.wait_for(working, 20)
    done = world.job(job)
    assert found["comfyline_worker_engine_up",] == 1
    assert found["comfyline_worker_leases",] == 0
    assert found["comfyline_worker_jobs_claimed_total",] == 2
    assert found["comfyline_worker_attempts_total", "succeeded"] == 1
    assert found["comfyline_worker_attempts_total", "failed"] == 1
    assert found["comfyline_worker_gpu_busy_seconds_total",] == done.gpu_seconds
    counts = {key[1]: n for key, n in found.items() if key[0].endswith("stage_seconds_count")}
    assert counts == {"claim": 2, "inputs": 2, "queued_ahead": 1, "run": 1} | {
        "collect": 1,
        "finish": 2,
    }
    assert found["comfyline_worker_stage_seconds_sum", "run"] == done.gpu_seconds


async def test_leases_are_counted_while_they_are_held(world: World) -> None:
    prometheus = PrometheusMetrics()
    job, drain = world.submit(a_graph(steps=2000)), asyncio.Event()
    async with ComfyEngine.connected(world.url, ForeignEngine(), world.limits) as engine:
        prometheus.watch(engine)
        with prometheus.served(HERE, 0) as port:
            working = asyncio.create_task(world.worker(engine).work(drain))
            await world.until(job, Status.RUNNING)
            held = (await scraped(port))["comfyline_worker_leases",]
            drain.set()
            await asyncio.wait_for(working, 20)
    assert held == 1
    assert world.metrics.sum(Metric.ATTEMPTS_ENDED, outcome="given_back") == 1


async def test_an_engine_that_is_away_is_not_up(world: World) -> None:
    prometheus = PrometheusMetrics()
    prometheus.record(Metric.ENGINE_RESTARTS, reason="engine_gone")
    prometheus.record(Metric.JOBS_ACCEPTED)  # not a worker's
    async with ComfyEngine.connected("http://127.0.0.1:1", ForeignEngine()) as engine:
        prometheus.watch(engine)
        with prometheus.served(HERE, 0) as port:
            found = await scraped(port)
    assert found["comfyline_worker_engine_up",] == 0
    assert found["comfyline_worker_engine_restarts_total", "engine_gone"] == 1
    assert not any("accepted" in name.lower() for name, *_ in found)
    with pytest.raises(httpx.ConnectError):
        await scraped(port)  # nothing is served after the block


async def test_the_dashboard_asks_for_what_a_worker_tells_and_for_all_of_it() -> None:
    prometheus = PrometheusMetrics()
    for metric in Metric:
        prometheus.record(metric, **({metric.dimension: "any"} if metric.dimension else {}))
    async with ComfyEngine.connected("http://127.0.0.1:1", ForeignEngine()) as engine:
        prometheus.watch(engine)
        with prometheus.served(HERE, 0) as port:
            told = await page(port)
    assert wrong(questions("comfyline_worker_"), text_string_to_metric_families(told)) == []


def test_a_stage_that_breaks_off_has_taken_its_time() -> None:
    metrics = InMemoryMetrics()
    with pytest.raises(ValueError, match="broken"), timed(metrics, Stage.COLLECT):
        raise ValueError("broken")
    ((metric, seconds, of),) = metrics.recorded
    assert (metric, of) == (Metric.STAGE_TIME, {"stage": "collect"})
    assert seconds >= 0
