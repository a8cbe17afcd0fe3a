"""Put uploads in the place of the assets that a graph names.

An output of a job is copied to an upload first, because it may be removed before the new job runs.
The copy's id follows from the output, so it is copied once, however many jobs use it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from comfyline.contract.ids import (
    JOB_ID_PATTERN,
    UPLOAD_ID_PATTERN,
    JobId,
    Principal,
    UploadId,
    output_copy_id,
)
from comfyline.contract.limits import MAX_UPLOAD_BYTES, MAX_UPLOAD_REFERENCES
from comfyline.service.clock import Clock
from comfyline.service.errors import (
    AssetNotFound,
    FieldError,
    InvalidGraph,
    JobNotFound,
    RequestTooLarge,
    UploadMissing,
)
from comfyline.service.files.assets import RENEW_AFTER, Assets
from comfyline.service.files.uploads import UploadStore, upload_key
from comfyline.service.graphs.assets import AssetPlace, asset_places, plain_names, with_uploads
from comfyline.service.graphs.compile import CustomGraph
from comfyline.service.graphs.engine_nodes import EngineNodes
from comfyline.service.graphs.graph import with_input
from comfyline.service.graphs.uploads import PREFIX
from comfyline.service.intake.submission import Submission
from comfyline.service.jobs.artifacts import read_artifacts
from comfyline.service.jobs.job import JobRecord
from comfyline.service.jobs.result import Artifact
from comfyline.service.jobs.store import JobStore

_OUTPUT_ID = re.compile("(" + JOB_ID_PATTERN.strip("^$") + r")\.([0-9]{1,7})")
_UPLOAD_ID = re.compile(UPLOAD_ID_PATTERN)

Spend = Callable[[int], None]  # counts bytes that are stored for the owner, or raises


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetResolver:
    """Finds the caller's assets, among them the outputs of its jobs."""

    assets: Assets
    uploads: UploadStore
    jobs: JobStore
    clock: Clock
    nodes: Callable[[], EngineNodes]

    def resolved(self, asked: Submission, caller: Principal, spend: Spend) -> Submission:
        """The submission with a graph in which each asset is a reference to an upload.

        Raises:
            InvalidGraph: it names too many assets.
            UploadMissing: it names an asset that the caller does not have.
            TooManyRequests: the owner has stored as much as it may.
        """
        if not isinstance(asked.work, CustomGraph):
            return asked
        graph = self._with_named_files(asked.work.graph, caller)
        places = list(asset_places(graph))
        if len(places) > MAX_UPLOAD_REFERENCES:
            detail = f"A workflow may name at most {MAX_UPLOAD_REFERENCES} assets."
            raise InvalidGraph(detail, [FieldError(("body", "workflow"), detail)])
        ids = self._upload_ids(places, caller, spend)
        uploads = {asset_id: PREFIX + upload_id for asset_id, upload_id in ids.items()}
        work = replace(asked.work, graph=with_uploads(graph, uploads))
        return replace(asked, work=work, placed=frozenset(ids.values()))

    def output(self, id_: str, caller: Principal) -> tuple[JobRecord, Artifact] | None:
        """The output of that id and its job; None if the id is not that of an output.

        Raises:
            AssetNotFound: the caller has no such output.
        """
        match = _OUTPUT_ID.fullmatch(id_)
        if not match:
            return None
        job_id, number = JobId(match[1]), int(match[2])
        numbers = range(number, number + 1)
        try:
            record, found = read_artifacts(
                job_id, caller, numbers, store=self.jobs, clock=self.clock
            )
        except JobNotFound as error:
            raise AssetNotFound(id_) from error
        if not found:
            raise AssetNotFound(id_)
        return record, found[0]

    def _upload_ids(
        self, places: Sequence[AssetPlace], caller: Principal, spend: Spend
    ) -> Mapping[str, UploadId]:
        found: dict[str, UploadId] = {}
        errors = []
        for place in places:
            if place.asset_id is None:
                errors.append(place.error("core/ASSET needs an `info` with an `id`, a text"))
            elif place.asset_id not in found:
                try:
                    found[place.asset_id] = self._upload_id(place.asset_id, caller, spend)
                except AssetNotFound as error:
                    errors.append(place.error(str(error)))
        if errors:
            raise UploadMissing("The workflow names assets that cannot be used.", errors)
        return found

    def _upload_id(self, id_: str, caller: Principal, spend: Spend) -> UploadId:
        if (output := self.output(id_, caller)) is not None:
            return self._copy_of(output[1], caller, spend, id_)
        if not _UPLOAD_ID.fullmatch(id_):
            raise AssetNotFound(id_)
        return self.assets.renewed(self.assets.get(id_, caller)).id

    def _copy_of(self, made: Artifact, caller: Principal, spend: Spend, id_: str) -> UploadId:
        upload_id = output_copy_id(caller, made.key)
        key = upload_key(caller, upload_id)
        stored = self.uploads.look(key)
        if stored is not None and self.clock() - stored.stored_at < RENEW_AFTER:
            return upload_id
        if made.bytes > MAX_UPLOAD_BYTES:
            raise RequestTooLarge(f"An input has at most {MAX_UPLOAD_BYTES} bytes; {id_} has more.")
        spend(made.bytes)
        if not self.uploads.copy(made.key, key, name=made.name, content_type=made.content_type):
            raise AssetNotFound(id_)
        return upload_id

    def _with_named_files(self, graph: Mapping[str, Any], caller: Principal) -> Mapping[str, Any]:
        """The graph with each plain name of an asset replaced by a reference to it.

        A name that is none of an asset is left: the engine may have a file of that name.
        """
        placed = dict(graph)
        known: dict[str, str | None] = {}
        for node_id, name, file_path in plain_names(graph, self.nodes()):
            if file_path not in known and len(known) < MAX_UPLOAD_REFERENCES:
                known[file_path] = self._reference_to(file_path, caller)
            if reference := known.get(file_path):
                placed[node_id] = with_input(placed[node_id], name, reference)
        return placed

    def _reference_to(self, file_path: str, caller: Principal) -> str | None:
        asset = self.assets.named(file_path, caller)
        return None if asset is None else PREFIX + self.assets.renewed(asset).id
