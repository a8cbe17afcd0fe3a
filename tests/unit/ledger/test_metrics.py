"""GET /metrics, read with the parser of Prometheus, and the metrics of ended jobs."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from prometheus_client.parser import text_string_to_metric_families

from comfyline.adapters.memory.fleet import InMemoryPresenceStore
from comfyline.adapters.memory.ledger import InMemoryLedger
from comfyline.adapters.memory.metrics import InMemoryMetrics
from comfyline.adapters.memory.queue import InMemoryJobQueue
from comfyline.contract.ids import random_worker_id
from comfyline.service.fleet.workers import Presence
from comfyline.service.ledger.count import Meter, count
from comfyline.service.metrics import Metric
from comfyline.service.queue.lanes import Priority
from functions.get_metrics import shown
from tests.support.builders import NOW, FrozenClock, a_job, canceled, succeeded
from tests.support.dashboard import mismatches, queries


def test_the_metrics_are_those_of_the_jobs_and_workers() -> None:
    clock, ledger, presence = FrozenClock(), InMemoryLedger(), InMemoryPresenceStore()
    queue = InMemoryJobQueue(clock)
    job = a_job()
    queue.send(job.id, job.owner, Priority.LOW)
    presence.put(Presence(random_worker_id(), 1, NOW + timedelta(seconds=1)))
    presence.put(Presence(random_worker_id(), 0, NOW + timedelta(seconds=1), "the disk is full"))
    ran = replace(succeeded(job), finished_at=NOW + timedelta(seconds=45), interruptions=2)
    ledger.count([ran, ran, canceled(a_job())])
    meter = Meter(ledger=ledger, queue=queue, presence=presence, clock=clock)
    families = text_string_to_metric_families(shown(meter.read()))
    samples = {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}
    assert samples["comfyui_jobs_total", "succeeded"] == 1
    assert samples["comfyui_jobs_total", "canceled"] == 1
    assert samples["comfyui_jobs_total", "failed"] == samples["comfyui_jobs_total", "expired"] == 0
    buckets = {k[1]: v for k, v in samples.items() if k[0] == "comfyui_job_duration_seconds_bucket"}
    bounds = [float(bound) for bound in buckets]
    assert bounds == [10, 30, 60, 120, 300, 600, 1200, float("inf")]
    assert list(buckets.values()) == [0, 0, 1, 1, 1, 1, 1, 1]
    assert samples["comfyui_job_duration_seconds_sum",] == 45
    assert samples["comfyui_job_duration_seconds_count",] == 1
    assert samples["comfyui_gpu_seconds_total",] == 1.25
    assert samples["comfyui_interruptions_total",] == 2
    depths = {k[1]: v for k, v in samples.items() if k[0] == "comfyui_queue_depth"}
    assert depths == {"high": 0, "normal": 0, "low": 1}
    assert samples["comfyui_active_workers",] == 2
    assert samples["comfyui_unhealthy_workers",] == samples["comfyui_running_jobs",] == 1


def test_an_ended_job_is_recorded_once_with_its_times() -> None:
    ledger, metrics = InMemoryLedger(), InMemoryMetrics()
    ran = replace(succeeded(a_job()), finished_at=NOW + timedelta(seconds=45), interruptions=2)
    ran = replace(ran, queued_at=NOW - timedelta(seconds=3), started_at=NOW)
    for delivered in ([ran], [ran, canceled(a_job())], [ran]):
        count(delivered, ledger=ledger, metrics=metrics)
    assert metrics.recorded == [
        (Metric.JOBS_ENDED, 1, {"status": "succeeded"}),
        (Metric.JOB_WAIT, 3.0, {}),
        (Metric.JOB_TIME, 45.0, {}),
        (Metric.GPU_TIME, 1.25, {}),
        (Metric.INTERRUPTIONS, 2, {}),
        (Metric.JOBS_ENDED, 1, {"status": "canceled"}),
    ]


def test_the_dashboard_uses_every_metric_and_no_other() -> None:
    meter = Meter(
        ledger=InMemoryLedger(),
        queue=InMemoryJobQueue(FrozenClock()),
        presence=InMemoryPresenceStore(),
        clock=FrozenClock(),
    )
    families = text_string_to_metric_families(shown(meter.read()))
    assert mismatches(queries("comfyui_"), families) == []
