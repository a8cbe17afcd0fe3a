"""Callers' files on their way into the engine: fetched, handed over, named in the graph."""

from __future__ import annotations

import asyncio
import mimetypes
import tempfile
from dataclasses import dataclass

from comfyline.contract.ids import UploadId
from comfyline.service.files.uploads import (
    Reference,
    UploadStore,
    references,
    upload_key,
    with_files,
)
from comfyline.service.jobs.job import Graph, Job
from gpu_worker.comfy.http import ComfyHttp

IN_MEMORY = 8 * 1024 * 1024  # a larger file is kept on disk on its way


class InputMissing(Exception):
    """A file that the graph names is gone; trying again would find it gone too."""

    def __init__(self, reference: Reference) -> None:
        super().__init__(f"The upload {reference.upload_id} is gone.")
        self.reference = reference


@dataclass(frozen=True, slots=True)
class Inputs:
    """Places a job's uploads; each file is fetched once, however many nodes take it."""

    http: ComfyHttp
    uploads: UploadStore

    async def placed(self, job: Job, graph: Graph, folder: str) -> Graph:
        """The graph with the engine's own file names, all in `folder` of its input directory.

        Raises:
            InputMissing: an upload is gone.
            EngineUnreachable, EngineError, Unavailable: see the ports.
        """
        wanted = {found.upload_id: found for found in references(graph)}
        if not wanted:
            return graph
        names: dict[UploadId, str] = {}
        for upload_id, found in wanted.items():
            names[upload_id] = await self._handed_over(job, found, folder)
        return with_files(graph, names.__getitem__)

    async def _handed_over(self, job: Job, found: Reference, folder: str) -> str:
        key = upload_key(job.owner, found.upload_id)
        with tempfile.SpooledTemporaryFile(IN_MEMORY) as file:
            stored = await asyncio.to_thread(self.uploads.fetch, key, file)
            if stored is None:
                raise InputMissing(found)
            file.seek(0)
            name = found.upload_id + (mimetypes.guess_extension(stored.content_type) or "")
            return await self.http.upload(name, file, stored.content_type, folder)
