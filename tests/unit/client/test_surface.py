"""The public surface: names, methods, and that both clients behave the same."""

from __future__ import annotations

import asyncio
import inspect
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from comfyline import client as package
from comfyline.client import (
    AsyncComfyline,
    AsyncJob,
    Comfyline,
    Conflict,
    Job,
    JobCanceled,
    JobExpired,
    JobFailed,
    JobNotSucceeded,
    UploadFailed,
    errors,
)
from tests.support.eventually import WITHIN
from tests.unit.client.fakes import (
    JOB,
    Service,
    Stream,
    accepted,
    artifact,
    job_view,
    problem,
    succeeded,
)

NAMES = """ApiError ArtifactMessage ArtifactPage ArtifactView AsyncComfyline AsyncJob Backoff
Caller CallerKey CancelAnswer Comfyline ComfylineClientError Conflict DoneMessage DownloadFailed
ErrorView EventList EventView Forbidden InvalidRequest Job JobAccepted JobCanceled
JobExpired JobFailed JobMessage JobNotSucceeded JobPage JobView KeyLimits
KeyList KeyView Models NewKeyResponse NotConfigured
NotFound Pace Picture PlainHttpWarning ProgressDetail ProgressMessage RateLimited
ResultView Retries ServiceUnavailable StatusMessage SubscriptionRefused Timestamps
TransportFailed Unauthorized UnexpectedAnswer UploadFailed UsageView WaitTimedOut
WarningView"""

CLIENT = """artifact_url artifacts cancel close create_key create_token disable_key events get
graph history job keys list me metrics models purge retry rotate_key run socket_url
submit upload usage"""
JOBS = "artifacts cancel download events images purge refresh retry wait"


def public(kind: type) -> str:
    return " ".join(sorted(name for name in dir(kind) if not name.startswith("_")))


def test_the_names_are_frozen() -> None:
    assert sorted(package.__all__) == sorted(NAMES.split())
    assert all(hasattr(package, name) for name in package.__all__)


@pytest.mark.parametrize("kind", [Comfyline, AsyncComfyline])
def test_the_methods_of_a_client_are_frozen(kind: type) -> None:
    assert public(kind) == " ".join(CLIENT.split())


@pytest.mark.parametrize("kind", [Job, AsyncJob])
def test_the_methods_of_a_job_are_frozen(kind: type) -> None:
    assert public(kind) == JOBS


@pytest.mark.parametrize(
    ("blocking", "asynchronous"), [(Comfyline, AsyncComfyline), (Job, AsyncJob)]
)
def test_both_clients_take_the_same_arguments(blocking: type, asynchronous: type) -> None:
    for name in public(blocking).split():
        first, second = (
            inspect.signature(getattr(kind, name)) for kind in (blocking, asynchronous)
        )
        assert list(first.parameters.values()) == list(second.parameters.values()), name


def test_the_drawn_tree_of_errors_has_all_errors() -> None:
    drawn = errors.__doc__ or ""
    for name, kind in vars(errors).items():
        if isinstance(kind, type) and issubclass(kind, errors.ComfylineClientError):
            assert name in drawn, f"{name} is not in the tree"
            assert kind.__doc__, f"{name} has no docstring"


# --- both clients ---------------------------------------------------------------------------------


def by_both(service: Service, act: str, *arguments: Any, **options: Any) -> list[Any]:
    """What the two clients return for the same call."""

    async def awaited() -> Any:
        async with service.async_client() as client:
            return await getattr(client, act)(*arguments, **options)

    with service.client() as client:
        return [getattr(client, act)(*arguments, **options), asyncio.run(awaited())]


def routed(**answers: Any) -> Service:
    """Answers each request by the last part of its path."""

    def answer(request: httpx.Request) -> httpx.Response:
        name = request.url.path.rpartition("/")[2]
        found = answers["job" if name == JOB else name]
        if isinstance(found, dict):
            return httpx.Response(200, json=found)
        return httpx.Response(found.status_code, content=found.content)  # a response is used once

    return Service(answer)


def test_run_waits_for_success() -> None:
    service = routed(jobs=accepted(), job=succeeded(artifact()))
    for job in by_both(service, "run", "a fox", steps=3):
        assert job.id == JOB
        assert job.view.status == "succeeded"
    assert json.loads(service.requests[0].content) == {"prompt": "a fox", "steps": 3}


@pytest.mark.parametrize(
    ("status", "kind"), [("failed", JobFailed), ("canceled", JobCanceled), ("expired", JobExpired)]
)
def test_run_raises_the_error_of_each_other_end(status: str, kind: type[JobNotSucceeded]) -> None:
    error = {"type": "node_error", "message": "no such model"} if status == "failed" else None
    service = routed(jobs=accepted(), job=job_view(status, 5, error=error))
    with pytest.raises(kind, match="no such model" if error else status) as raised:
        by_both(service, "run", "a fox")
    assert raised.value.job.status == status


def test_retry_returns_a_new_job() -> None:
    service = routed(retry=accepted())
    for job in by_both(service, "retry", JOB, idempotency_key="k"):
        assert job.id == JOB
    assert {r.headers["idempotency-key"] for r in service.requests} == {"k"}
    assert {r.url.path for r in service.requests} == {f"/api/v1/jobs/{JOB}/retry"}
    refused = Service(problem(409, "conflict", "It has succeeded."))
    with pytest.raises(Conflict), refused.client() as client:
        client.job(JOB).retry()
    assert "idempotency-key" not in refused.requests[0].headers


def test_models_returns_the_models() -> None:
    names = ("checkpoints", "samplers", "schedulers", "node_classes")
    service = routed(models={"default_checkpoint": "m", **{name: ["a"] for name in names}})
    assert all(models.samplers == ["a"] for models in by_both(service, "models"))


def test_files_are_uploaded_and_put_into_the_workflow(tmp_path: Path) -> None:
    form = {"upload_id": "up_1", "url": "https://files.test/bucket", "fields": {"key": "k"}}
    form["expires_at"] = "2026-01-02T03:04:05Z"
    service = routed(jobs=accepted(), uploads=form, bucket=httpx.Response(204))
    photo = tmp_path / "photo.png"
    photo.write_bytes(b"pixels")
    graph = {"10": {"class_type": "LoadImage", "inputs": {}}}
    by_both(service, "submit", workflow=graph, files={"10.image": photo}, inputs={"9.x": "y"})
    requested, posted, submitted = service.requests[:3]
    assert json.loads(requested.content)["bytes"] == 6
    assert json.loads(requested.content)["content_type"] == "image/png"
    assert b"pixels" in posted.content
    assert b'name="key"' in posted.content
    assert posted.content.index(b'name="key"') < posted.content.index(b'name="file"')
    assert "authorization" not in posted.headers
    inputs = json.loads(submitted.content)["inputs"]
    assert inputs == {"9.x": "y", "10.image": "upload:up_1"}


def test_the_error_of_a_refused_upload_does_not_show_the_signature(tmp_path: Path) -> None:
    form = {"upload_id": "up_1", "url": "https://files.test/bucket?secret", "fields": {}}
    form["expires_at"] = "2026-01-02T03:04:05Z"
    service = routed(uploads=form, bucket=httpx.Response(403))
    photo = tmp_path / "photo.png"
    photo.write_bytes(b"pixels")
    with pytest.raises(UploadFailed, match=r"photo\.png: HTTP 403") as raised:
        by_both(service, "submit", workflow={}, files={"10.image": photo})
    assert "secret" not in str(raised.value)


def test_the_asyncio_client_reads_pages() -> None:
    service = Service({"jobs": [], "next_cursor": "c"}, {"jobs": [], "next_cursor": None})

    async def pages() -> list[Any]:
        async with service.async_client() as client:
            return [page async for page in client.list()]

    assert len(asyncio.run(pages())) == 2


def test_the_asyncio_client_downloads(tmp_path: Path) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == "api.test":
            return httpx.Response(200, json=succeeded(artifact("a.png"), artifact("b.png", b"two")))
        body = b"two" if artifact("b.png", b"two")["url"] == str(request.url) else b"pixels"
        return httpx.Response(200, stream=Stream(body))

    async def download() -> list[Path]:
        async with Service(answer).async_client() as client:
            return await client.job(JOB).download(tmp_path)

    paths = asyncio.run(download())
    assert {p.name: p.read_bytes() for p in paths} == {"a.png": b"pixels", "b.png": b"two"}


def test_calls_of_the_asyncio_client_run_side_by_side() -> None:
    gate, inside = asyncio.Event(), 0

    async def answer(request: httpx.Request) -> httpx.Response:
        nonlocal inside
        inside += 1
        if inside == 3:
            gate.set()
        await asyncio.wait_for(gate.wait(), WITHIN)
        return httpx.Response(200, json=job_view())

    async def three() -> list[Any]:
        transport = httpx.MockTransport(answer)
        async with AsyncComfyline("https://api.test", "k", "", transport=transport) as client:
            return await asyncio.gather(*(client.get(JOB) for _ in range(3)))

    assert len(asyncio.run(three())) == 3
