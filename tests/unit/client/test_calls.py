"""Calls of the HTTP API: settings, requests, retries and errors."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

from comfyline.client import (
    ApiError,
    Backoff,
    Comfyline,
    ComfylineClientError,
    Conflict,
    Forbidden,
    InvalidRequest,
    NotConfigured,
    NotFound,
    PlainHttpWarning,
    RateLimited,
    ServiceUnavailable,
    TransportFailed,
    Unauthorized,
    UnexpectedAnswer,
)
from comfyline.client.errors import retry_after_seconds
from comfyline.client.options import SubmitOptions
from comfyline.contract.v1 import requests
from tests.unit.client.fakes import JOB, KEY, URL, Service, accepted, job_view, problem, succeeded


def body(request: httpx.Request) -> Any:
    return json.loads(request.content)


# --- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "ws_url"),
    [
        ("http://api.example", None),
        ("https://api.example", "ws://live.example"),
        ("http://10.0.0.1", None),
    ],
)
def test_a_key_that_would_leave_the_machine_without_tls_is_warned_of(
    url: str, ws_url: str | None
) -> None:
    with pytest.warns(PlainHttpWarning, match="without encryption") as found:
        Comfyline(url, KEY, ws_url).close()
    assert found[0].filename == __file__


@pytest.mark.parametrize(
    "host", ["127.0.0.1:4566", "127.8.9.1", "localhost", "a.localhost", "[::1]"]
)
def test_this_machine_needs_no_tls(host: str) -> None:
    Comfyline(f"http://{host}", KEY, f"ws://{host}/live").close()  # a warning is an error here


def test_arguments_take_precedence_over_environment_variables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COMFYLINE_URL", f"{URL}/api/v1/\n")
    monkeypatch.setenv("COMFYLINE_API_KEY", "cl_env\n")
    service = Service(job_view())
    transport = httpx.MockTransport(service)
    with Comfyline(transport=transport) as client:
        client.get(JOB)
    with Comfyline("https://other.test/stage", "cl_arg", transport=transport) as client:
        client.get(JOB)
    first, second = service.requests
    assert (str(first.url), first.headers["authorization"]) == (
        f"{URL}/api/v1/jobs/{JOB}",
        "Bearer cl_env",
    )
    assert (str(second.url), second.headers["authorization"]) == (
        f"https://other.test/stage/api/v1/jobs/{JOB}",
        "Bearer cl_arg",
    )


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"api_key": KEY}, "COMFYLINE_URL is not set"),
        ({"url": URL}, "COMFYLINE_API_KEY is not set"),
        ({"url": "api.test", "api_key": KEY}, "COMFYLINE_URL must begin with https://"),
        ({"url": "https://a:b", "api_key": KEY}, "COMFYLINE_URL is not a URL"),
        ({"url": URL, "api_key": "cl_é"}, "COMFYLINE_API_KEY holds characters"),
        ({"url": URL, "api_key": KEY, "ws_url": URL}, "COMFYLINE_WS_URL must begin with wss://"),
    ],
)
def test_a_missing_or_wrong_setting_is_named(
    arguments: dict[str, Any], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("COMFYLINE_URL", "COMFYLINE_API_KEY", "COMFYLINE_WS_URL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(NotConfigured, match=named):
        Comfyline(**arguments)


# --- calls ---------------------------------------------------------------------------------------


def test_submit_leaves_out_options_that_are_not_given() -> None:
    service = Service(accepted())
    with service.client() as client:
        job = client.submit("a fox", steps=20, seed=None, metadata={"a": "b"})
        client.submit(workflow={"1": {"class_type": "X", "inputs": {}}}, idempotency_key="mine")
    assert job.id == JOB
    first, second = service.requests
    assert body(first) == {"prompt": "a fox", "steps": 20, "metadata": {"a": "b"}}
    assert body(second) == {"workflow": {"1": {"class_type": "X", "inputs": {}}}}
    assert second.headers["idempotency-key"] == "mine"
    assert first.headers["content-type"] == "application/json"


def test_submit_takes_either_a_prompt_or_a_workflow() -> None:
    with Service(accepted()).client() as client:
        with pytest.raises(TypeError):
            client.submit()
        with pytest.raises(TypeError):
            client.submit("a fox", workflow={})


def test_submit_has_all_options_of_the_contract() -> None:
    fields = set(requests.TextToImageRequest.model_fields) | set(
        requests.WorkflowRequest.model_fields
    )
    assert set(SubmitOptions.__annotations__) == fields - {"prompt", "workflow"}


def test_retries_of_a_submission_have_one_key_and_each_submission_its_own() -> None:
    service = Service(httpx.ConnectError("down"), httpx.ReadTimeout("slow"), accepted())
    with service.client() as client:
        client.submit("a fox")
        client.submit("a fox")
    keys = [request.headers["idempotency-key"] for request in service.requests]
    assert keys[0] == keys[1] == keys[2] != keys[3]
    assert len(keys[0]) >= 32


def test_list_reads_pages_when_they_are_needed() -> None:
    service = Service(
        {"jobs": [job_view()], "next_cursor": "c/2"}, {"jobs": [job_view(), job_view()]}
    )
    with service.client() as client:
        pages = client.list("running", limit=2)
        assert len(next(pages).jobs) == 1
        assert len(service.requests) == 1
        assert [len(page.jobs) for page in pages] == [2]
    params = [dict(request.url.params) for request in service.requests]
    assert params == [
        {"limit": "2", "status": "running"},
        {"limit": "2", "status": "running", "cursor": "c/2"},
    ]


def test_cancel_returns_what_happened() -> None:
    answer = {"job_id": JOB, "status": "canceling", "message": "soon"}
    service = Service(httpx.Response(202, json=answer))
    with service.client() as client:
        assert client.job(JOB).cancel().status == "canceling"
    assert (service.requests[0].method, service.requests[0].url.path) == (
        "DELETE",
        f"/api/v1/jobs/{JOB}",
    )


@pytest.mark.parametrize("job_id", ["", "x", "../keys", JOB + "\n", JOB + "?purge=true"])
def test_a_wrong_job_id_is_not_sent(job_id: str) -> None:
    service = Service(job_view())
    with service.client() as client:
        for call in (client.get, client.cancel, client.job):
            with pytest.raises(ValueError, match="not a job id"):
                call(job_id)
    assert service.requests == []


def test_wait_returns_the_ended_job() -> None:
    with Service(job_view(), succeeded()).client() as client:
        assert client.job(JOB).wait(timeout=20).status == "succeeded"


# --- retries -------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_temporary_errors_are_retried(status: int) -> None:
    service = Service(httpx.Response(status), httpx.Response(status), job_view())
    with service.client() as client:
        assert client.get(JOB).job_id == JOB
    assert len(service.waits) == 2


def test_a_500_of_the_gateway_is_retried() -> None:
    """API Gateway answers so if Lambda refuses to start the authorizer."""
    refused = httpx.Response(500, json={"message": "Internal Server Error"})
    service = Service(refused, job_view())
    with service.client() as client:
        assert client.get(JOB).job_id == JOB


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422, 500])
def test_final_errors_are_not_retried(status: int) -> None:
    service = Service(httpx.Response(status, headers={"content-type": "application/problem+json"}))
    with service.client() as client, pytest.raises(ApiError):
        client.get(JOB)
    assert len(service.requests) == 1


def test_the_number_of_tries_is_limited() -> None:
    unavailable, down = Service(httpx.Response(503)), Service(httpx.ConnectError("refused"))
    with unavailable.client(tries=3) as client, pytest.raises(ServiceUnavailable):
        client.get(JOB)
    with down.client(tries=3) as client, pytest.raises(TransportFailed, match="refused"):
        client.get(JOB)
    assert len(unavailable.requests) == len(down.requests) == 3
    assert len(unavailable.waits) == len(down.waits) == 2


def test_retry_after_is_followed_up_to_a_limit() -> None:
    service = Service(httpx.Response(429, headers={"retry-after": "7"}), job_view())
    with service.client() as client:
        client.get(JOB)
    assert 7 <= service.waits[0] <= 8
    long_wait = Service(httpx.Response(429, headers={"retry-after": "3600"}))
    with long_wait.client() as client, pytest.raises(RateLimited) as raised:
        client.get(JOB)
    assert raised.value.retry_after_seconds == 3600
    assert long_wait.waits == []


def test_retry_after_may_be_a_date() -> None:
    def seconds(value: str) -> float | None:
        return retry_after_seconds(httpx.Response(503, headers={"retry-after": value}))

    soon = seconds(format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True))
    assert soon is not None
    assert 25 < soon <= 30
    assert seconds("Fri, 02 Jan 2026 03:04:05 GMT") == 0
    assert seconds("later") is None
    assert seconds("") is None


def test_backoff_has_full_jitter_and_a_cap() -> None:
    backoff = Backoff(base_seconds=1, cap_seconds=4)
    for failures, most in ((1, 1), (2, 2), (3, 4), (9, 4), (10_000, 4)):
        waits = [backoff.seconds(failures) for _ in range(200)]
        assert 0 <= min(waits) < most / 4
        assert most * 3 / 4 < max(waits) <= most


# --- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequest),
        (401, Unauthorized),
        (403, Forbidden),
        (404, NotFound),
        (409, Conflict),
        (413, InvalidRequest),
        (422, InvalidRequest),
        (429, RateLimited),
        (503, ServiceUnavailable),
        (418, ApiError),
    ],
)
def test_each_status_raises_its_error(status: int, kind: type[ApiError]) -> None:
    errors = [{"loc": ["body", "width"], "msg": "too wide"}]
    service = Service(problem(status, "some_code", "Not like this.", errors=errors))
    with service.client(tries=1) as client, pytest.raises(ApiError) as raised:
        client.submit("a fox")
    error = raised.value
    assert type(error) is kind
    assert str(error) == "Some code: Not like this. body.width: too wide"
    assert (error.status, error.request_id) == (status, "req-1")
    assert error.problem is not None
    assert error.problem.errors is not None
    assert error.problem.errors[0].loc == ["body", "width"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'{"message":"Unauthorized"}', "HTTP 401: Unauthorized"),
        (b"<html>", "HTTP 401: Unauthorized"),
        (b"[1]", "HTTP 401: Unauthorized"),
        (b'{"message":null}', "HTTP 401: Unauthorized"),
    ],
)
def test_responses_of_the_gateway_are_read(content: bytes, says: str) -> None:
    answer = httpx.Response(401, content=content, headers={"apigw-requestid": "gw-1"})
    with Service(answer).client() as client, pytest.raises(Unauthorized) as raised:
        client.get(JOB)
    assert (str(raised.value), raised.value.problem) == (says, None)
    assert raised.value.request_id == "gw-1"


@pytest.mark.parametrize("content", [b"<html>Log in</html>", b"{}"])
def test_a_successful_response_of_another_service_is_an_error(content: bytes) -> None:
    with (
        Service(httpx.Response(200, content=content)).client() as client,
        pytest.raises(UnexpectedAnswer, match="COMFYLINE_URL"),
    ):
        client.get(JOB)


def test_no_error_message_and_no_repr_shows_the_key() -> None:
    services = [Service(httpx.ConnectError("x")), Service(httpx.Response(403)), Service({})]
    for service in services:
        with service.client() as client, pytest.raises(ComfylineClientError) as raised:
            client.get(JOB)
        assert KEY not in f"{raised.value!r} {client!r} {client.job(JOB)!r}"
