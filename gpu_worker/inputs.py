"""Bring callers' uploads to the engine, and write the engine's file names into the graph."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass

from comfyline.contract.ids import UploadId
from comfyline.service.files.media_types import suffix_of
from comfyline.service.files.uploads import UploadStore, upload_key
from comfyline.service.graphs.graph import Graph
from comfyline.service.graphs.uploads import Reference, references, with_files
from comfyline.service.jobs.job import Job
from gpu_worker.comfy.http import ComfyHttp

IN_MEMORY_BYTES = 8 * 1024 * 1024  # a larger file is kept on disk while it is transferred


class InputMissing(Exception):
    """An upload that the graph names does not exist any more; another try would fail, too."""

    def __init__(self, reference: Reference) -> None:
        super().__init__(f"The upload {reference.upload_id} does not exist any more.")
        self.reference = reference


@dataclass(frozen=True, slots=True)
class Inputs:
    """Places a job's uploads. Each file is fetched once, however many nodes use it."""

    http: ComfyHttp
    uploads: UploadStore

    async def place(self, job: Job, graph: Graph, folder: str) -> Graph:
        """Give the graph's uploads to the engine; returns the graph with the engine's file names.

        All files are in `folder` of the engine's input directory.

        Raises:
            InputMissing: an upload does not exist any more.
            EngineUnreachable, EngineError, Unavailable: see the ports.
        """
        wanted = {reference.upload_id: reference for reference in references(graph)}
        if not wanted:
            return graph
        names: dict[UploadId, str] = {}
        for upload_id, reference in wanted.items():
            names[upload_id] = await self._hand_over(job, reference, folder)
        return with_files(graph, names.__getitem__)

    async def _hand_over(self, job: Job, reference: Reference, folder: str) -> str:
        key = upload_key(job.owner, reference.upload_id)
        with tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES) as file:
            stored = await asyncio.to_thread(self.uploads.fetch, key, file)
            if stored is None:
                raise InputMissing(reference)
            file.seek(0)
            name = reference.upload_id + suffix_of(stored.content_type)
            return await self.http.upload(name, file, stored.content_type, folder)
