"""Fetch callers' uploads, and write the engine's names of them into the graph."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from comfyline.contract.ids import UploadId
from comfyline.service.files.uploads import UploadStore, file_suffix, upload_key
from comfyline.service.graphs.engine_nodes import EngineNodes
from comfyline.service.graphs.graph import Graph
from comfyline.service.graphs.uploads import Reference, references, with_files
from comfyline.service.jobs.job import Job
from gpu_worker.workspace import Hold


class InputMissing(Exception):
    """An upload that the graph names does not exist any more; another try would fail, too."""

    def __init__(self, reference: Reference) -> None:
        super().__init__(f"The upload {reference.upload_id} does not exist any more.")
        self.reference = reference


@dataclass(frozen=True, slots=True)
class Inputs:
    """Fetches a job's uploads. Each file is fetched once, however many nodes use it."""

    uploads: UploadStore

    async def fetch(self, job: Job, graph: Graph, hold: Hold) -> dict[UploadId, Path]:
        """The graph's uploads, each as a file in `hold` with the suffix that nodes expect.

        Raises:
            InputMissing: an upload does not exist any more.
            Unavailable: see the port.
        """
        wanted = {reference.upload_id: reference for reference in references(graph)}
        return {
            upload_id: await asyncio.to_thread(self._fetch, job, reference, hold)
            for upload_id, reference in wanted.items()
        }

    def _fetch(self, job: Job, reference: Reference, hold: Hold) -> Path:
        path = hold.new_path()
        with path.open("wb") as file:
            stored = self.uploads.fetch(upload_key(job.principal, reference.upload_id), file)
        if stored is None:
            raise InputMissing(reference)
        return path.rename(path.with_suffix(file_suffix(stored)))


def input_name(upload_id: UploadId, file: Path) -> str:
    """The file's name in the engine's input folder. It contains only what the caller knows."""
    return upload_id + file.suffix


def with_input_names(
    graph: Graph, files: dict[UploadId, Path], nodes: EngineNodes, base: str | None
) -> Graph:
    """The graph with each reference to an upload replaced by the name of its file.

    A node that reads paths gets the whole path, if the engine's folders are known.
    """

    def name_of(reference: Reference) -> str:
        name = input_name(reference.upload_id, files[reference.upload_id])
        is_path = nodes.takes_path(reference.node_type, reference.input)
        return f"{base}/input/{name}" if is_path and base is not None else name

    return with_files(graph, name_of)
