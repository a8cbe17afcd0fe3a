"""The bodies of other tools become a body of API v1, or are refused with what to do instead."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given

from comfyline.api.v1 import commands
from comfyline.api.v1.unwrap import unwrapped
from comfyline.service.errors import InvalidRequest
from comfyline.service.graphs.catalogue import Catalogue
from comfyline.service.graphs.compile import CustomGraph
from comfyline.service.graphs.graph import fingerprint
from comfyline.service.graphs.text_to_image import TextToImage
from comfyline.service.graphs.validate import validate_graph
from tests.unit.graphs.graphs import ANYTHING, GOOD, JSON

EXPORT = {"nodes": [{"id": 1}], "links": [], "version": 0.4}
IN_PICTURES = {"extra_pnginfo": {"workflow": EXPORT}}

PLAIN: dict[str, tuple[Any, dict[str, Any]]] = {
    "API v1": ({"workflow": GOOD}, {}),
    "a graph alone": (GOOD, {}),
    "a graph as text": ({"workflow": json.dumps(GOOD)}, {}),
    "a graph as text with blanks": ({"workflow": "\n " + json.dumps(GOOD, indent=1)}, {}),
    "ComfyUI": ({"prompt": GOOD}, {}),
    "ComfyUI with its ids": ({"prompt": GOOD, "client_id": "x", "prompt_id": "y"}, {}),
    "ComfyUI not in front": ({"prompt": GOOD, "front": False}, {}),
    "ComfyUI with what its editor sends": (
        {"prompt": GOOD, "client_id": "x", "extra_data": IN_PICTURES},
        {"extra_data": IN_PICTURES},
    ),
    "ComfyUI as text": ({"prompt": json.dumps(GOOD)}, {}),
    "ComfyUI inside of workflow": ({"workflow": {"prompt": GOOD, "client_id": "x"}}, {}),
    "a PNG's texts": ({"prompt": GOOD, "workflow": EXPORT}, {"extra_data": IN_PICTURES}),
    "a PNG's texts as text": (
        {"prompt": json.dumps(GOOD), "workflow": json.dumps(EXPORT)},
        {"extra_data": IN_PICTURES},
    ),
    "ComfyUI's editor": ({"output": GOOD, "workflow": EXPORT}, {"extra_data": IN_PICTURES}),
    "ComfyUI's editor without its workflow": ({"output": GOOD}, {}),
    "ComfyUI's editor inside of workflow": (
        {"workflow": {"output": GOOD, "workflow": EXPORT}},
        {"extra_data": IN_PICTURES},
    ),
    "worker-comfyui": ({"input": {"workflow": GOOD}}, {}),
    "worker-comfyui without images": ({"input": {"workflow": GOOD, "images": []}}, {}),
    "worker-comfyui as text": ({"input": json.dumps({"workflow": GOOD})}, {}),
    "worker-comfyui with text": ({"input": {"workflow": json.dumps(GOOD)}}, {}),
    "worker-comfyui with ComfyUI's body": ({"input": {"workflow": {"prompt": GOOD}}}, {}),
    "worker-comfyui with the editor's": (
        {"input": {"workflow": {"output": GOOD, "workflow": EXPORT}}},
        {"extra_data": IN_PICTURES},
    ),
    "twice in workflow": ({"workflow": {"workflow": GOOD}}, {}),
}


@pytest.mark.parametrize(("sent", "beside"), PLAIN.values(), ids=PLAIN)
def test_a_plain_meaning_is_taken(sent: dict[str, Any], beside: dict[str, Any]) -> None:
    assert unwrapped(sent) == {"workflow": GOOD, **beside}
    asked = commands.submission(sent)
    pnginfo = beside.get("extra_data", {}).get("extra_pnginfo", {})
    assert asked.work == CustomGraph(graph=GOOD, extra_pnginfo=pnginfo)
    assert asked.fingerprint == fingerprint(sent)


@pytest.mark.parametrize(("sent", "_beside"), PLAIN.values(), ids=PLAIN)
def test_options_of_the_service_stay_beside_it(sent: dict[str, Any], _beside: object) -> None:
    options = {"priority": "high", "metadata": {"a": "b"}, "inputs": {}}
    if sent is GOOD:
        return  # options beside the nodes would be nodes
    asked = commands.submission({**sent, **options})
    assert (asked.priority, asked.metadata) == ("high", {"a": "b"})


@pytest.mark.parametrize(
    "sent",
    [
        {"prompt": "a red fox"},
        {"prompt": "{a red fox}", "output": {"format": "webp"}},
        {"prompt": '{"a": "wildcard'},
        {"prompt": "  [1, 2]"},
        {"prompt": "a red fox", "metadata": {"class_type": "x"}},
    ],
)
def test_a_text_stays_a_text(sent: dict[str, Any]) -> None:
    work = commands.submission(sent).work
    assert isinstance(work, TextToImage)
    assert work.prompt == sent["prompt"]


@pytest.mark.parametrize(
    "sent",
    [
        EXPORT,
        {"workflow": EXPORT},
        {"workflow": json.dumps(EXPORT)},
        {"prompt": EXPORT},
        {"input": {"workflow": EXPORT}},
    ],
)
def test_what_the_editor_saves_keeps_its_hint(sent: dict[str, Any]) -> None:
    work = commands.submission(sent).work
    assert isinstance(work, CustomGraph)
    with pytest.raises(InvalidRequest, match=r"Export \(API\)"):
        validate_graph(work.graph, Catalogue())


@pytest.mark.parametrize(
    ("sent", "place", "remedy"),
    [
        ({"prompt": GOOD, "front": True}, "front", '"priority": "high"'),
        ({"prompt": GOOD, "number": -1}, "number", "Send `priority`"),
        ({"prompt": GOOD, "partial_execution_targets": ["1"]}, "partial", "Leave the other"),
        (
            {"input": {"workflow": GOOD, "images": [{"name": "a.png", "image": "iVBOR"}]}},
            "images",
            "POST /api/v1/uploads",
        ),
        ({"prompt": GOOD, "workflow": GOOD}, "workflow", "exactly one workflow"),
        ({"prompt": GOOD, "workflow": None}, "workflow", "exactly one workflow"),
    ],
)
def test_what_has_no_meaning_here_is_refused_with_the_remedy(
    sent: dict[str, Any], place: str, remedy: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        commands.submission(sent)
    assert remedy in caught.value.detail
    assert caught.value.errors[0].loc[-1].startswith(place)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("sent", "place"),
    [
        ({"input": {"workflow": GOOD, "comfy_org_api_key": "x"}}, "comfy_org_api_key"),
        ({"input": {"workflow": GOOD}, "webhook": "https://x"}, "webhook"),
        ({"input": {"workflow": GOOD}, "s3Config": {}}, "s3Config"),
        ({"prompt": GOOD, "extra_data": {"preview_method": "auto"}}, "preview_method"),
        ({"prompt": GOOD, "number_of_images": 2}, "number_of_images"),
        ({"input": {"prompt": "a red fox"}}, None),
        ({"workflow": "a red fox"}, "workflow"),
        ({"workflow": [1]}, "workflow"),
        ({"prompt": "a red fox", "workflow": GOOD}, None),
        ({}, None),
    ],
)
def test_what_is_unknown_is_refused_by_name(sent: dict[str, Any], place: str | None) -> None:
    with pytest.raises(InvalidRequest) as caught:
        commands.submission(sent)
    assert place is None or caught.value.errors[0].loc[-1] == place


def test_a_text_that_is_nested_too_deeply_is_no_workflow() -> None:
    text = '{"a":' * 100 + "1" + "}" * 100
    with pytest.raises(InvalidRequest):
        commands.submission({"workflow": text})


def test_wrappers_of_wrappers_come_to_an_end() -> None:
    sent: Any = GOOD
    for _ in range(40):
        sent = {"workflow": sent}
    work = commands.submission(sent).work
    assert isinstance(work, CustomGraph)
    with pytest.raises(InvalidRequest):
        validate_graph(work.graph, Catalogue())


@given(ANYTHING | JSON)
def test_any_body_is_a_job_or_is_refused(sent: Any) -> None:
    for body in (sent, {"prompt": sent}, {"input": sent}, {"workflow": sent}, {"output": sent}):
        with suppress(InvalidRequest):
            assert commands.submission(body).fingerprint == fingerprint(body)
