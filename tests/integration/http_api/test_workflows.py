"""Workflows over HTTP: workflows are stored unchanged, and limits of the key apply."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from comfyline.contract.ids import JobId
from comfyline.service.jobs.job import Job
from tests.integration.http_api.requests import code, submit
from tests.support.gateway import Gateway
from tests.unit.graphs.graphs import GOOD, node

PNGINFO = {"workflow": {"nodes": [{"id": 1}], "title": "cut \ud83d"}}


def stored(gateway: Gateway, job_id: str) -> Job:
    job = gateway.aws.jobs.get(JobId(job_id))
    assert job is not None
    return job


def test_a_body_is_stored_as_comfyui_would_read_it(gateway: Gateway) -> None:
    body = '{"workflow": %s}' % json.dumps(GOOD).replace(  # noqa: UP031 - braces of JSON
        '"class_type": "EmptyImage"', '"is_changed": [NaN, "\\ud83d"], "class_type": "EmptyImage"'
    )
    reply = gateway("POST", "/api/v1/jobs", body=body)
    assert reply.status == 202, reply.text
    graph = gateway.aws.jobs.graph(stored(gateway, reply.json["job_id"]))
    assert repr(graph["1"]["is_changed"]) == repr([float("nan"), "\ud83d"])
    assert graph["2"] == GOOD["2"]


def test_a_retry_keeps_what_goes_into_pictures(gateway: Gateway) -> None:
    sent = {"prompt": GOOD, "client_id": "x", "extra_data": {"extra_pnginfo": PNGINFO}}
    first = submit(gateway, sent)
    assert gateway.aws.jobs.extra_pnginfo(stored(gateway, first)) == PNGINFO
    gateway("DELETE", f"/api/v1/jobs/{first}")
    reply = gateway("POST", f"/api/v1/jobs/{first}/retry")
    assert reply.status == 202, reply.text
    again = stored(gateway, reply.json["job_id"])
    assert again.options.has_pnginfo
    assert gateway.aws.jobs.extra_pnginfo(again) == PNGINFO
    assert gateway.aws.jobs.graph(again) == GOOD


@pytest.mark.parametrize(
    ("limits", "sent", "status"),
    [
        (
            {},
            {"workflow": {"1": node("EmptyImage", width=9_999, height=9_999), "2": GOOD["2"]}},
            202,
        ),
        ({"max_pixels": "4096"}, {"workflow": GOOD}, 202),
        ({"max_pixels": "4095"}, {"workflow": GOOD}, 413),
        ({"max_pixels": "4194304"}, {"prompt": "x", "width": 2048, "height": 2048}, 202),
        ({"max_batch_size": "64"}, {"prompt": "x", "batch_size": 64}, 202),
        ({"max_batch_size": "64"}, {"prompt": "x", "batch_size": 65}, 413),
    ],
)
def test_a_key_may_have_other_limits(
    gateway: Gateway, limits: dict[str, str], sent: dict[str, Any], status: int
) -> None:
    limited = replace(gateway, caller={**gateway.caller, **limits}, made={})
    reply = limited("POST", "/api/v1/jobs", sent)
    assert reply.status == status, reply.text
    if status == 413:
        assert code(reply) == (413, "request_too_large")
