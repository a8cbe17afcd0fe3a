"""From a request that was parsed to the graph that the engine runs, every bound checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from comfyline.contract.ids import JobId
from comfyline.contract.limits import MAX_BATCH_SIZE, MAX_PIXELS
from comfyline.contract.v1.requests import JOB_OPTIONS, TextToImageRequest, WorkflowRequest
from comfyline.service.errors import InvalidRequest, RequestTooLarge
from comfyline.service.files.uploads import with_inputs
from comfyline.service.graphs import graph as workflow
from comfyline.service.graphs import text_to_image
from comfyline.service.graphs.catalogue import Catalogue
from comfyline.service.jobs.job import Graph, JobParams

# Nodes of ComfyUI's core that begin an image from nothing, in the size that their inputs say.
_BEGINNINGS = frozenset({"EmptyLatentImage", "EmptySD3LatentImage", "EmptyImage"})


@dataclass(frozen=True, slots=True)
class Compiled:
    """What a request asks, and its graph but for a seed that is yet to be drawn."""

    params: JobParams
    graph: Graph | None  # None: made of the parameters, once the job has an id

    def for_job(self, job_id: JobId) -> tuple[JobParams, Graph]:
        """The request of that job. A seed that was left open is fixed by the job's id."""
        if self.graph is not None:
            return self.params, self.graph
        params = dict(self.params.params)
        if params["seed"] is None:
            params["seed"] = text_to_image.drawn_seed(job_id)
        graph = text_to_image.text_to_image_graph(params, checkpoint=params["model"])
        return JobParams(params=params, metadata=self.params.metadata), graph


def compiled(
    request: TextToImageRequest | WorkflowRequest, *, checkpoint: str, catalogue: Catalogue
) -> Compiled:
    """The request, proved to be within the deployment's bounds.

    Raises:
        InvalidRequest, RequestTooLarge: it is not.
    """
    if isinstance(request, WorkflowRequest):
        graph = workflow.validate_graph(request.workflow, catalogue)
        _check_sizes(_sizes(graph))
        graph = with_inputs(graph, request.inputs)
        return Compiled(JobParams(params={}, metadata=request.metadata), graph)
    _check_sizes([(request.width, request.height, request.batch_size)])
    params = request.model_dump(exclude=set(JOB_OPTIONS)) | {"model": request.model or checkpoint}
    _check_names(params, checkpoint, catalogue)
    return Compiled(JobParams(params=params, metadata=request.metadata), None)


def _check_names(params: Mapping[str, Any], checkpoint: str, catalogue: Catalogue) -> None:
    asked = {"sampler": params["sampler"], "scheduler": params["scheduler"]}
    errors = list(catalogue.unknown_names(checkpoint=params["model"], **asked))
    if params["model"] == checkpoint:  # the default needs no listing
        errors = [error for error in errors if error.loc != ("body", "model")]
    if errors:
        raise InvalidRequest("The request names what this deployment does not have.", errors)


def _sizes(graph: Graph) -> Iterator[tuple[int, int, int]]:
    for node in graph.values():
        if node["class_type"] in _BEGINNINGS:
            inputs = node["inputs"]
            sides = [inputs.get(name, 1) for name in ("width", "height", "batch_size")]
            if all(type(side) is int for side in sides):  # a link is known only when it has run
                yield (sides[0], sides[1], sides[2])


def _check_sizes(sizes: Iterator[tuple[int, int, int]] | list[tuple[int, int, int]]) -> None:
    for width, height, batch in sizes:
        if width * height > MAX_PIXELS:
            raise RequestTooLarge(f"An image has at most {MAX_PIXELS} pixels.")
        if batch > MAX_BATCH_SIZE:
            raise RequestTooLarge(f"A batch has at most {MAX_BATCH_SIZE} images.")
