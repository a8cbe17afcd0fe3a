"""Check that a job can use the uploads that its graph names."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from comfyline.contract.ids import OwnerId
from comfyline.contract.limits import MAX_UPLOAD_BYTES
from comfyline.contract.media_types import kind_of, suffix_of
from comfyline.service.errors import FieldError, InvalidRequest
from comfyline.service.files.uploads import StoredUpload, UploadStore, outlives, upload_key
from comfyline.service.graphs.engine_nodes import ANY_KIND, EngineNodes
from comfyline.service.graphs.graph import Graph
from comfyline.service.graphs.uploads import Reference, references
from comfyline.service.jobs.job import Job

# A file of these types is a picture or an animation. Only its content shows which.
_MAY_MOVE = frozenset({"image/webp", "image/avif"})


def check_uploads(
    job: Job, graph: Graph, *, uploads: UploadStore, nodes: Callable[[], EngineNodes]
) -> None:
    """Check that each upload exists, fits its input and is kept until the job has run.

    `nodes` is called only if the graph names an upload.

    Raises:
        InvalidRequest: with one error for each upload that cannot be used.
    """
    needed_until = job.start_deadline + job.execution_timeout
    found = (_error(job.owner, each, needed_until, uploads, nodes()) for each in references(graph))
    if errors := [error for error in found if error is not None]:
        raise InvalidRequest("The inputs cannot be used.", errors)


def _error(
    owner: OwnerId,
    reference: Reference,
    needed_until: datetime,
    uploads: UploadStore,
    nodes: EngineNodes,
) -> FieldError | None:
    stored = uploads.look(upload_key(owner, reference.upload_id))
    if stored is None:
        return reference.error(f"there is no upload {reference.upload_id}")
    if message := _mismatch(reference.kinds(nodes), stored):
        return reference.error(message)
    if stored.bytes > MAX_UPLOAD_BYTES:
        return reference.error(f"an upload has at most {MAX_UPLOAD_BYTES} bytes")
    if not outlives(stored.stored_at, needed_until):
        return reference.error("the upload may be removed before the job runs; upload it again")
    return None


def _mismatch(kinds: frozenset[str], stored: StoredUpload) -> str | None:
    """Why an input that takes these kinds cannot take the upload; None if it can.

    A file of an unknown kind fits every input that takes a file.
    """
    if not kinds:
        return "this input takes no uploaded file"
    found = _kinds_of(stored)
    if ANY_KIND in kinds or not found or not kinds.isdisjoint(found):
        return None
    return f"takes {' or '.join(sorted(kinds))}, the upload is {stored.content_type}"


def _kinds_of(stored: StoredUpload) -> frozenset[str]:
    """What the file may be, by its name and by the type that it was sent with."""
    suffix = suffix_of(stored.content_type)
    kinds = {kind_of(stored.name), kind_of(f"file{suffix}")} - {kind_of("")}
    if stored.content_type in _MAY_MOVE:
        kinds.add("animation")
    return frozenset(kinds)
