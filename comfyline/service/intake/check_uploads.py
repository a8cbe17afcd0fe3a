"""Check that a job can use the uploads that its graph names.

The store is asked once for each upload, however many inputs name it, and only after the job was
admitted. So one post makes at most MAX_UPLOAD_REFERENCES calls.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from comfyline.contract.ids import Principal, UploadId
from comfyline.contract.limits import (
    MAX_JOB_UPLOAD_BYTES,
    MAX_UPLOAD_BYTES,
    MAX_UPLOAD_REFERENCES,
)
from comfyline.contract.media_types import kind_of, suffix_of
from comfyline.service.errors import FieldError, InvalidGraph, RequestTooLarge, UploadMissing
from comfyline.service.files.uploads import StoredUpload, UploadStore, outlives, upload_key
from comfyline.service.graphs.engine_nodes import ANY_KIND, EngineNodes
from comfyline.service.graphs.graph import Graph
from comfyline.service.graphs.uploads import Reference, references
from comfyline.service.jobs.job import Job

# A file of these types is a picture or an animation. Only its content shows which.
_MAY_MOVE = frozenset({"image/webp", "image/avif"})
# Threads that ask S3, each of which waits some 40 ms for an answer: 100 uploads take 0.3 s.
LOOKS_AT_ONCE = 16

Stored = Mapping[UploadId, StoredUpload | None]  # None: there is no such upload


def upload_references(graph: Graph) -> Sequence[Reference]:
    """Every input of the graph that names an upload. Makes no call.

    Raises:
        InvalidGraph: more than MAX_UPLOAD_REFERENCES inputs name one.
    """
    found = list(references(graph))
    if len(found) > MAX_UPLOAD_REFERENCES:
        detail = (
            f"At most {MAX_UPLOAD_REFERENCES} inputs of a workflow may name an upload; "
            f"{len(found)} do."
        )
        raise InvalidGraph(detail, [FieldError(("body", "workflow"), detail)])
    return found


def check_uploads(
    job: Job,
    named: Sequence[Reference],
    *,
    uploads: UploadStore,
    nodes: Callable[[], EngineNodes],
    placed: Collection[UploadId] = (),
) -> None:
    """Check that each upload exists, fits its inputs and is kept until the job has run.

    The uploads in `placed` fit every input, because the caller has said that they are files.
    `nodes` is called only if the graph names an upload.

    Raises:
        UploadMissing: an upload does not exist.
        InvalidGraph: with one error for each reference to an upload that cannot be used.
        RequestTooLarge: the uploads have more than MAX_JOB_UPLOAD_BYTES in all.
        Unavailable: the uploads are out of reach.
    """
    if not named:
        return
    stored = _stored(job.principal, named, uploads)
    needed_until, known = job.start_deadline + job.execution_timeout, nodes()
    found = (
        _error(
            each, stored[each.upload_id], needed_until, None if each.upload_id in placed else known
        )
        for each in named
    )
    if errors := [error for error in found if error is not None]:
        kind = UploadMissing if None in stored.values() else InvalidGraph
        raise kind("The inputs cannot be used.", errors)
    total = sum(upload.bytes for upload in stored.values() if upload is not None)
    if total > MAX_JOB_UPLOAD_BYTES:
        raise RequestTooLarge(
            f"The uploads of a job have at most {MAX_JOB_UPLOAD_BYTES} bytes in all; these have "
            f"{total}."
        )


def _stored(principal: Principal, named: Sequence[Reference], uploads: UploadStore) -> Stored:
    ids = list(dict.fromkeys(reference.upload_id for reference in named))
    with ThreadPoolExecutor(min(len(ids), LOOKS_AT_ONCE)) as threads:
        looks = threads.map(lambda upload_id: uploads.look(upload_key(principal, upload_id)), ids)
        return dict(zip(ids, looks, strict=True))


def _error(
    reference: Reference,
    stored: StoredUpload | None,
    needed_until: datetime,
    nodes: EngineNodes | None,
) -> FieldError | None:
    if stored is None:
        return reference.error(f"there is no upload {reference.upload_id}")
    if nodes is not None and (message := _mismatch(reference.kinds(nodes), stored)):
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
