"""Requests of API v1 become commands: every option arrives, and an absent one stays open."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest

from comfyline.api.v1 import commands
from comfyline.api.v1.uploads import new_upload
from comfyline.service.errors import InvalidRequest
from comfyline.service.files.offer_upload import NewUpload
from comfyline.service.graphs.compile import CustomGraph
from comfyline.service.graphs.graph import fingerprint
from comfyline.service.graphs.text_to_image import TextToImage
from comfyline.service.intake.submission import Submission
from comfyline.service.jobs.job import JobOptions, PictureEncoding, PictureFormat
from comfyline.service.queue.lanes import Priority
from tests.support.builders import a_graph

PARAMETERS: dict[str, Any] = {
    "prompt": "a red fox",
    "negative_prompt": "snow",
    "width": 64,
    "height": 128,
    "steps": 7,
    "cfg_scale": 3.5,
    "sampler": "ddim",
    "scheduler": "karras",
    "seed": 42,
    "model": "sdxl.safetensors",
    "batch_size": 2,
}
OPTIONS: dict[str, Any] = {
    "priority": "low",
    "start_deadline_seconds": 60,
    "execution_timeout_seconds": 5,
    "metadata": {"project": "foxes"},
    "reuse": False,
    "output": {"format": "webp", "quality": 80},
    "previews": True,
}


def test_every_parameter_and_option_arrives() -> None:
    sent = {**PARAMETERS, **OPTIONS}
    assert commands.submission(sent) == Submission(
        work=TextToImage(**PARAMETERS),
        fingerprint=fingerprint(sent),
        priority=Priority.LOW,
        start_deadline=timedelta(minutes=1),
        execution_timeout=timedelta(seconds=5),
        metadata={"project": "foxes"},
        reuse=False,
        options=JobOptions(
            output=PictureEncoding(format=PictureFormat.WEBP, quality=80), wants_previews=True
        ),
    )


def test_options_that_are_not_sent_are_left_to_the_service() -> None:
    asked = commands.submission({"prompt": "a red fox"})
    assert isinstance(asked.work, TextToImage)
    assert (asked.work.seed, asked.work.model) == (None, None)
    assert (asked.start_deadline, asked.execution_timeout, asked.reuse) == (None, None, None)
    assert (asked.priority, asked.options) == (Priority.NORMAL, JobOptions())


def test_a_graph_arrives_as_it_was_sent() -> None:
    inputs = {"1.image": "upload:upl_" + "0" * 26}
    asked = commands.submission({"workflow": a_graph(), "inputs": inputs})
    assert asked.work == CustomGraph(graph=a_graph(), inputs=inputs)


@pytest.mark.parametrize("strict", [True, False])
def test_only_a_graph_can_be_strict(strict: bool) -> None:
    asked = commands.submission({"workflow": a_graph(), "strict": strict})
    assert asked.options == JobOptions(strict=strict)
    with pytest.raises(InvalidRequest):
        commands.submission({"prompt": "a red fox", "strict": strict})


@pytest.mark.parametrize(
    ("sent", "may_reuse"),
    [
        ({"prompt": "a red fox"}, False),
        ({"prompt": "a red fox", "seed": 0}, True),
        ({"prompt": "a red fox", "seed": 7}, True),
        ({"prompt": "a red fox", "seed": 7, "reuse": False}, False),
        ({"prompt": "a red fox", "reuse": True}, True),
        ({"workflow": a_graph()}, False),
        ({"workflow": a_graph(), "reuse": True}, True),
    ],
)
def test_an_earlier_job_answers_only_a_request_that_allows_it(
    sent: dict[str, Any], may_reuse: bool
) -> None:
    assert commands.submission(sent).may_reuse is may_reuse


def test_the_order_of_fields_makes_no_other_request() -> None:
    sent = {**PARAMETERS, **OPTIONS}
    other = dict(reversed(sent.items()))
    assert commands.submission(sent).fingerprint == commands.submission(other).fingerprint


def test_what_goes_into_pictures_arrives() -> None:
    pnginfo = {"workflow": {"nodes": [1], "x": [math.nan]}, "title": "cut \ud83d"}
    asked = commands.submission({"workflow": a_graph(), "extra_data": {"extra_pnginfo": pnginfo}})
    assert asked.work == CustomGraph(graph=a_graph(), extra_pnginfo=pnginfo)
    assert asked.options.has_pnginfo


@pytest.mark.parametrize("extra_data", [None, {}, {"extra_pnginfo": {}}])
def test_nothing_for_pictures_leaves_no_trace(extra_data: Any) -> None:
    asked = commands.submission({"workflow": a_graph(), "extra_data": extra_data})
    assert asked.work == CustomGraph(graph=a_graph())
    assert asked.options == JobOptions()


@pytest.mark.parametrize(
    ("extra_data", "place"),
    [
        ({"preview_method": "auto"}, "preview_method"),
        ({"extra_pnginfo": {}, "auth_token_comfy_org": "x"}, "auth_token_comfy_org"),
        ({"extra_pnginfo": None}, "extra_pnginfo"),
        ({"extra_pnginfo": []}, "extra_pnginfo"),
        ([], None),
    ],
)
def test_everything_else_beside_a_workflow_is_refused_by_name(
    extra_data: Any, place: str | None
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        commands.submission({"workflow": a_graph(), "extra_data": extra_data})
    assert caught.value.errors[0].loc[1:] == tuple(filter(None, ("extra_data", place)))


def test_the_parameter_form_makes_no_pictures_of_its_own() -> None:
    with pytest.raises(InvalidRequest):
        commands.submission({"prompt": "a red fox", "extra_data": {"extra_pnginfo": {"a": 1}}})


def test_an_upload_arrives() -> None:
    sent = {"name": "a.png", "content_type": "image/png", "bytes": 3, "sha256": "0" * 64}
    expected = NewUpload(name="a.png", content_type="image/png", bytes=3, sha256="0" * 64)
    assert new_upload(sent) == expected
    with pytest.raises(InvalidRequest):
        new_upload({**sent, "bytes": 0})


@pytest.mark.parametrize(
    "content_type",
    [
        "image/png",
        "image/svg+xml",
        "audio/flac",
        "video/x-matroska",
        "model/gltf-binary",
        "application/octet-stream",
        "application/x-comfyui-latent",
        "text/plain",
        "font/woff2",
    ],
)
def test_a_file_of_any_type_can_be_uploaded(content_type: str) -> None:
    sent = {"name": "a", "content_type": content_type, "bytes": 3}
    assert new_upload(sent).content_type == content_type


@pytest.mark.parametrize(
    "content_type",
    ["", "png", "image/", "/png", "image/png; a=b", "Image/PNG", "image/png\n", "a/b/c"],
)
def test_what_is_no_media_type_is_refused(content_type: str) -> None:
    with pytest.raises(InvalidRequest):
        new_upload({"name": "a", "content_type": content_type, "bytes": 3})
