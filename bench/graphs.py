"""Graphs with a given run time on the simulator."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any

from PIL import Image

from comfyline.service.graphs.text_to_image import TextToImage, text_to_image_graph
from comfyui_sim.options import CHECKPOINTS, STEP_MS

Graph = dict[str, dict[str, Any]]

LARGE_SIDE = 2600  # pixels; RGB noise of this size takes 20 MB, also as PNG


def timed(seconds: float, *, is_real: bool) -> Graph:
    """A graph that takes that many seconds on the simulator.

    A real ComfyUI has no node that waits, so there it scales a picture instead. Each graph is
    different, so that ComfyUI does not answer from its cache.
    """
    color = uuid.uuid4().int % 0xFFFFFF
    blank = {"width": 64, "height": 64, "batch_size": 1, "color": color}
    graph: Graph = {"1": {"class_type": "EmptyImage", "inputs": blank}}
    return {**graph, **_slowly(["1", 0], seconds, is_real=is_real)}


def sampled(seconds: float, *, is_real: bool) -> Graph:
    """The same of ComfyUI's own nodes only, so that a worker may queue it ahead of its turn.

    The simulator's own node that waits may write files, as far as a worker knows.
    """
    if is_real:
        return timed(seconds, is_real=True)
    asked = TextToImage(
        prompt="a red fox",
        negative_prompt="",
        width=64,
        height=64,
        steps=round(1000 * seconds / STEP_MS),
        cfg_scale=7.0,
        sampler="euler",
        scheduler="normal",
        seed=uuid.uuid4().int % 2**53,
        model=CHECKPOINTS[0],
        batch_size=1,
    )
    return {node: dict(spec) for node, spec in text_to_image_graph(asked).items()}


def large(seconds: float, *, is_real: bool) -> Graph:
    """The same with the picture that is uploaded as `1.image`. Its artifact is as large."""
    graph: Graph = {"1": {"class_type": "LoadImage", "inputs": {"image": ""}}}
    return {**graph, **_slowly(["1", 0], seconds, is_real=is_real)}


def _slowly(image: list[Any], seconds: float, *, is_real: bool) -> Graph:
    nonce = uuid.uuid4().int % 1_000_000
    asleep = {"images": image, "seconds": seconds, "progress": False, "nonce": nonce}
    scaled: dict[str, Any] = {"image": image, "upscale_method": "lanczos", "crop": "disabled"}
    scaled |= {"width": 2048, "height": 1024 + nonce % 1024}
    slow = ("ImageScale", scaled) if is_real else ("ProbeSleep", asleep)
    saved = {"images": ["2", 0], "filename_prefix": "bench"}
    return {
        "2": {"class_type": slow[0], "inputs": slow[1]},
        "3": {"class_type": "SaveImage", "inputs": saved},
    }


def chain(links: int) -> Graph:
    """A graph that scales a picture `links` times, in one node after another.

    It keeps a real ComfyUI without models busy for some seconds, and an interrupt takes effect
    between two nodes.
    """
    graph: Graph = timed(0.0, is_real=True)
    for link in range(links):
        scaled = {**graph["2"]["inputs"], "image": [f"link {link - 1}" if link else "1", 0]}
        scaled["height"] += link  # so that no two nodes are equal
        graph[f"link {link}"] = {"class_type": "ImageScale", "inputs": scaled}
    graph["2"]["inputs"]["image"] = [f"link {links - 1}", 0]
    return graph


def noise(folder: Path) -> Path:
    """A picture of 20 MB, which cannot be compressed."""
    path = folder / "noise.png"
    side = LARGE_SIDE
    Image.frombytes("RGB", (side, side), os.urandom(3 * side * side)).save(path, compress_level=1)
    return path
