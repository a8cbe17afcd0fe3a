"""The pictures of the simulator: their content, their PNG chunks and their file names."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from PIL import Image

from tests.contract.comfyui_sim.client import Client, sampling
from tests.support import recordings


async def test_a_picture_depends_only_on_its_words_and_its_seed(client: Client) -> None:
    def graph(text: str, seed: int, prefix: str) -> dict[str, Any]:
        graph = sampling(seed=seed)
        graph["2"]["inputs"]["text"] = text
        graph["7"]["inputs"]["filename_prefix"] = prefix
        return graph

    first = await client.picture(graph("a lighthouse", 1, "a"))
    again = await client.picture(graph("a lighthouse", 1, "b"))
    other_seed = await client.picture(graph("a lighthouse", 2, "c"))
    other_words = await client.picture(graph("a cat", 1, "d"))
    assert first.size == (128, 128)
    assert first.tobytes() == again.tobytes()
    assert len({picture.tobytes() for picture in (first, other_seed, other_words)}) == 3


async def test_the_png_holds_the_prompt_and_extra_pnginfo(client: Client) -> None:
    graph = recordings.workflow("empty_image")
    extra = {"extra_pnginfo": {"workflow": {"id": "w"}}}
    entry = await client.result(await client.submit(graph, extra_data=extra))
    image = entry["outputs"]["2"]["images"][0]
    answer = await client.session.get("/api/view", params=image)
    picture = Image.open(io.BytesIO(await answer.read()))
    assert json.loads(picture.info["prompt"]) == graph
    assert json.loads(picture.info["workflow"]) == {"id": "w"}


async def test_the_numbers_of_a_batch_follow_the_highest_existing_number(
    client: Client, tmp_path: Path
) -> None:
    (tmp_path / "output" / "batch_00007_.png").write_bytes(b"")
    entry = await client.result(await client.submit(recordings.workflow("batch_of_four")))
    names = [image["filename"] for image in entry["outputs"]["2"]["images"]]
    assert names == [f"batch_{number:05}_.png" for number in (8, 9, 10, 11)]
