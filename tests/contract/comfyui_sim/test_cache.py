"""Which nodes run again, and which inputs they get."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.contract.comfyui_sim.client import Client
from tests.contract.comfyui_sim.graphs import LINK, PICTURE, ending_in
from tests.support.eventually import WITHIN

SAVE = {"images": LINK, "filename_prefix": "a"}


async def cached(client: Client, graph: dict[str, Any]) -> list[str]:
    """The nodes that did not run."""
    entry = await client.result(await client.submit(graph))
    messages = dict(entry["status"]["messages"])
    assert "execution_success" in messages, messages
    return sorted(messages["execution_cached"]["nodes"])


async def test_an_input_that_the_class_does_not_declare_makes_the_node_run_again(
    client: Client,
) -> None:
    assert await cached(client, ending_in("SaveImage", **SAVE)) == []
    assert await cached(client, ending_in("SaveImage", **SAVE, attempt="a")) == ["1"]
    assert await cached(client, ending_in("SaveImage", **SAVE, attempt="b")) == ["1"]
    assert await cached(client, ending_in("SaveImage", **SAVE, attempt="b")) == ["1", "2"]


async def test_a_link_that_the_class_does_not_declare_is_passed_on_and_fails_the_node(
    client: Client,
) -> None:
    graph = ending_in("SaveImage", **SAVE, other=["1", 0])
    details = (await client.result(await client.submit(graph)))["status"]["messages"][-1][1]
    assert details["exception_type"] == "TypeError"
    assert details["node_id"] == "2"


async def test_a_link_to_nothing_that_no_class_declares_ends_the_executor(client: Client) -> None:
    prompt_id = await client.submit(ending_in("SaveImage", **SAVE, other=["99", 0]))
    await client.submit(ending_in("SaveImage", **SAVE))
    async with asyncio.timeout(WITHIN):
        while not (running := (await client.get("/queue"))["queue_running"]):
            await asyncio.sleep(0.005)
    assert [item[1] for item in running] == [prompt_id]
    assert await client.get("/history") == {}


async def test_nodes_that_no_output_needs_may_be_broken(client: Client) -> None:
    broken = {
        "3": {"class_type": "ImageInvert", "inputs": {"image": ["99", 0]}},
        "4": {"class_type": "ImageInvert", "inputs": {"image": ["5", 0]}},
        "5": {"class_type": "ImageInvert", "inputs": {"image": ["4", 0]}},
        "6": {"class_type": "ImageInvert", "inputs": {}},
    }
    assert await cached(client, ending_in("SaveImage", **SAVE) | broken) == []
    assert await cached(client, ending_in("SaveImage", **SAVE) | broken) == ["1", "2"]


async def test_a_node_that_is_never_the_same_runs_each_time(client: Client) -> None:
    graph = ending_in("SaveImageWebsocket", images=LINK)
    assert await cached(client, graph) == []
    assert await cached(client, graph) == ["1"]


@pytest.mark.parametrize(("given", "expected"), [([0.5], ["1", "2"]), ([float("nan")], ["1"])])
async def test_a_prompt_may_say_itself_whether_a_node_has_changed(
    client: Client, given: list[float], expected: list[str]
) -> None:
    graph = ending_in("SaveImageWebsocket", images=LINK)
    graph["2"]["is_changed"] = given
    await cached(client, graph)
    assert await cached(client, graph) == expected


async def test_what_a_prompt_says_of_a_class_without_such_a_check_is_ignored(
    client: Client,
) -> None:
    graph = ending_in("SaveImage", **SAVE)
    graph["1"] = {**PICTURE, "is_changed": [float("nan")]}
    await cached(client, graph)
    assert await cached(client, graph) == ["1", "2"]


async def test_a_cached_output_without_files_is_told_without_an_output(client: Client) -> None:
    graph = ending_in("CaseUnreportedFile", filename_prefix="a")
    await cached(client, graph)
    await client.listen()
    await client.result(await client.submit(graph))
    assert (await client.until("executed"))["data"]["output"] is None


async def test_a_node_runs_once_for_each_item_of_a_list(client: Client) -> None:
    graph = {
        "1": {**PICTURE, "inputs": {**PICTURE["inputs"], "batch_size": 2}},
        "2": {"class_type": "ImpactImageBatchToImageList", "inputs": {"image": LINK}},
        "3": {"class_type": "ImageInvert", "inputs": {"image": ["2", 0]}},
        "4": {
            "class_type": "SaveImage",
            "inputs": {"images": ["3", 0], "filename_prefix": "a"},
        },
        "5": {"class_type": "easy imageSize", "inputs": {"image": ["2", 0]}},
    }
    outputs = (await client.result(await client.submit(graph)))["outputs"]
    assert [image["filename"] for image in outputs["4"]["images"]] == [
        "a_00001_.png",
        "a_00002_.png",
    ]
    assert outputs["5"]["text"] == list("Width: 16 , Height: 8" * 2)


async def test_one_invalid_output_of_two_is_left_out(client: Client) -> None:
    graph = ending_in("SaveImage", **SAVE)
    graph["3"] = {"class_type": "SaveImage", "inputs": {"filename_prefix": "bad"}}
    body = {"prompt": graph, "client_id": "me"}
    answer = await (await client.session.post("/prompt", json=body)).json()
    assert answer["node_errors"]["3"]["errors"][0]["type"] == "required_input_missing"
    assert list((await client.result(answer["prompt_id"]))["outputs"]) == ["2"]


async def test_an_error_inside_a_branch_names_the_node_that_cannot_be_judged(
    client: Client,
) -> None:
    graph = ending_in("SaveImage", images=["3", 0], filename_prefix="a")
    graph["3"] = {"class_type": "ImageInvert", "inputs": {"image": ["99", 0]}}
    answer = await client.session.post("/prompt", json={"prompt": graph})
    errors = (await answer.json())["node_errors"]
    assert answer.status == 400
    assert [fault["type"] for fault in errors["3"]["errors"]] == [
        "exception_during_inner_validation"
    ]
