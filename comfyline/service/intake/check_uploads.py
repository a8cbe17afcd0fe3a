"""Check that a job can use the uploads that its graph names."""

from __future__ import annotations

from datetime import datetime

from comfyline.contract.ids import OwnerId
from comfyline.contract.limits import MAX_UPLOAD_BYTES
from comfyline.service.errors import FieldError, InvalidRequest
from comfyline.service.files.uploads import UploadStore, outlives, upload_key
from comfyline.service.graphs.graph import Graph
from comfyline.service.graphs.uploads import Reference, references
from comfyline.service.jobs.job import Job


def check_uploads(job: Job, graph: Graph, *, uploads: UploadStore) -> None:
    """Check that each upload exists, fits its input and is kept until the job has run.

    Raises:
        InvalidRequest: with one error for each upload that cannot be used.
    """
    needed_until = job.start_deadline + job.execution_timeout
    found = (_error(job.owner, each, needed_until, uploads) for each in references(graph))
    if errors := [error for error in found if error is not None]:
        raise InvalidRequest("The inputs cannot be used.", errors)


def _error(
    owner: OwnerId, reference: Reference, needed_until: datetime, uploads: UploadStore
) -> FieldError | None:
    if reference.kind is None:
        return reference.error("this input takes no uploaded file")
    stored = uploads.look(upload_key(owner, reference.upload_id))
    if stored is None:
        return reference.error(f"there is no upload {reference.upload_id}")
    if not stored.content_type.startswith(f"{reference.kind}/"):
        return reference.error(f"takes {reference.kind}, the upload is {stored.content_type}")
    if stored.bytes > MAX_UPLOAD_BYTES:
        return reference.error(f"an upload has at most {MAX_UPLOAD_BYTES} bytes")
    if not outlives(stored.stored_at, needed_until):
        return reference.error("the upload may be removed before the job runs; upload it again")
    return None
