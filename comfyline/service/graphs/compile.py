"""Compile a caller's request into the graph that the engine runs, and check every bound."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from comfyline.contract.ids import JobId
from comfyline.service.errors import FieldError, InvalidGraph, InvalidRequest
from comfyline.service.graphs.catalogue import Catalogue
from comfyline.service.graphs.engine_nodes import EngineNodes
from comfyline.service.graphs.graph import Graph, is_link
from comfyline.service.graphs.text_to_image import (
    SizeLimits,
    TextToImage,
    drawn_seed,
    text_to_image_graph,
)
from comfyline.service.graphs.uploads import with_inputs
from comfyline.service.graphs.validate import unknown_nodes, validate_graph

# Core nodes of ComfyUI that make an empty image; its size is in their inputs.
_EMPTY_IMAGES = frozenset({"EmptyLatentImage", "EmptySD3LatentImage", "EmptyImage"})
_SIDES = ("width", "height", "batch_size")


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomGraph:
    """A graph as the caller sent it, unchecked, and the uploads to put in place of its inputs."""

    graph: Mapping[str, Any]
    inputs: Mapping[str, str] = field(default_factory=dict)  # "<node>.<input>" -> "upload:<id>"
    extra_pnginfo: Mapping[str, Any] = field(default_factory=dict)  # for ComfyUI's pictures


Work = TextToImage | CustomGraph


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a request is checked against."""

    checkpoint: str  # the deployment's default
    catalogue: Catalogue = field(default_factory=Catalogue)
    sizes: SizeLimits = field(default_factory=SizeLimits)  # of the caller's key
    nodes: Callable[[], EngineNodes] = unknown_nodes  # called only for what depends on it


@dataclass(frozen=True, slots=True)
class Compiled:
    """The graph, and the parameters that it was made from, which the owner is shown."""

    params: Mapping[str, Any]
    graph: Graph
    extra_pnginfo: Mapping[str, Any] = field(default_factory=dict)


def compiled(work: Work, bounds: Bounds, *, seed_from: JobId) -> Compiled:
    """Compile `work`; a seed that it leaves open is drawn from the id `seed_from`.

    Raises:
        InvalidRequest, RequestTooLarge: it exceeds the bounds.
    """
    if isinstance(work, CustomGraph):
        graph = _checked_graph(work.graph, bounds)
        return Compiled({}, with_inputs(graph, work.inputs, bounds.nodes), work.extra_pnginfo)
    _check_form(work, bounds)
    asked = work.completed(seed=drawn_seed(seed_from), model=bounds.checkpoint)
    return Compiled(asdict(asked), text_to_image_graph(asked))


def check_again(params: Mapping[str, Any], graph: Graph, bounds: Bounds) -> None:
    """Check an earlier request as if it were posted now: lists and limits may have changed since.

    `params` and `graph` are those of its `Compiled`.

    Raises:
        InvalidRequest, RequestTooLarge: it exceeds the bounds.
    """
    if params:
        _check_form(TextToImage(**params), bounds)
    else:
        _checked_graph(graph, bounds)


def _checked_graph(sent: Mapping[str, Any], bounds: Bounds) -> Graph:
    """The graph. Only a key limits its sizes: a batch may be a video's frames."""
    graph = validate_graph(sent, bounds.catalogue, bounds.nodes)
    if bounds.sizes != SizeLimits():
        for size in _sizes(graph):
            bounds.sizes.check(*size)
    return graph


def _sizes(graph: Graph) -> list[tuple[int, ...]]:
    """Width, height and batch size of each node that makes an empty image.

    Raises:
        InvalidGraph: one of them is neither a whole number nor a link. ComfyUI would convert a
            text or a fraction to a number, so that it would bypass the limit.
    """
    sizes, errors = [], []
    for node_id, node in graph.items():
        if node["class_type"] not in _EMPTY_IMAGES:
            continue
        sides = {name: _side(node["inputs"].get(name, 1)) for name in _SIDES}
        sizes.append(tuple(side or 1 for side in sides.values()))
        errors += [
            FieldError(("body", "workflow", node_id, "inputs", name), "must be a whole number")
            for name, side in sides.items()
            if side is None
        ]
    if errors:
        raise InvalidGraph("The key limits the sizes of images, and these cannot be read.", errors)
    return sizes


def _side(value: Any) -> int | None:
    """The number; None if it is none. A link counts as 1, because only the engine knows more."""
    if is_link(value):
        return 1
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if type(value) is int else None  # a bool is an int, too


def _check_form(asked: TextToImage, bounds: Bounds) -> None:
    bounds.sizes.or_of_the_form().check(asked.width, asked.height, asked.batch_size)
    # The default checkpoint is allowed even where the lock does not list it.
    model = None if asked.model == bounds.checkpoint else asked.model
    errors = [*bounds.catalogue.unknown_names(model, asked.sampler, asked.scheduler)]
    if errors:
        raise InvalidRequest("The request names what this deployment does not have.", errors)
