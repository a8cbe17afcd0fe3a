"""Show what a job has made: its result, pages of its files, and their signed URLs.

The length of a URL has no fixed limit: it holds the file's name twice, and on AWS a session token.
So the bytes of each response are counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from itertools import islice
from typing import Literal, TypeVar

from pydantic import BaseModel

from comfyline.contract.limits import MAX_ARTIFACTS_PER_PAGE
from comfyline.contract.v1.results import (
    ArtifactLink,
    ArtifactPage,
    ArtifactView,
    ResultView,
    WarningView,
)
from comfyline.service.files.artifacts import ArtifactStore
from comfyline.service.jobs.artifact_keys import thumbnail_key
from comfyline.service.jobs.job import JobRecord, Status
from comfyline.service.jobs.result import Artifact

# Long enough to download a large file, and so short that a URL in a log is soon useless. A client
# that gets 403 reads the job again.
URL_LIFETIME = timedelta(minutes=15)
# The rest of a job has up to 400 KB: prompts of 40,000 characters, values, warnings and the error.
MAX_ARTIFACTS_BYTES = 500_000

# The types that a browser may show in a page: none of them can hold a script.
INLINE_TYPES = frozenset(
    {
        *("image/png", "image/jpeg", "image/webp", "image/gif"),
        *("video/mp4", "video/webm", "audio/mpeg", "audio/wav", "audio/x-wav", "text/plain"),
    }
)

Model = TypeVar("Model", bound=BaseModel)


def result_view(
    record: JobRecord,
    store: ArtifactStore,
    now: datetime,
    *,
    most: int = MAX_ARTIFACTS_PER_PAGE,
) -> ResultView | None:
    """What an ended job has made, with its first `most` files at the most.

    A failed job keeps the files from before its failure.
    """
    result, total = record.result, record.artifacts_total
    if not record.job.status.is_terminal:
        return None  # a running attempt may still lose its job, and its files with it
    has_content = total or result.values or result.warnings
    if record.job.status is not Status.SUCCEEDED and not has_content:
        return None
    shown = list(_shown(record, range(most), result.artifacts[:most], store, now))
    return ResultView(
        artifacts=shown,
        artifacts_total=total,
        next_cursor=_cursor(len(shown), total),
        values={node: dict(values) for node, values in result.values.items()},
        values_cut=list(result.values_cut),
        warnings=[WarningView(**asdict(warning)) for warning in result.warnings],
        partial=result.is_partial,
        empty_reason=result.empty_reason,
        truncated=len(shown) < total,
    )


def artifact_page(
    record: JobRecord,
    numbers: range,
    artifacts: Sequence[Artifact],
    *,
    store: ArtifactStore,
    now: datetime,
) -> ArtifactPage:
    """The page of the files with these numbers, or of as many of the first as have room."""
    total = record.artifacts_total
    shown = list(_shown(record, numbers, artifacts, store, now))
    return ArtifactPage(
        job_id=record.job.id,
        artifacts=shown,
        artifacts_total=total,
        next_cursor=_cursor(numbers.start + len(shown), total),
    )


def fitting(models: Iterable[Model], room: int) -> Iterator[Model]:
    """The first models that have at most `room` bytes as JSON in all, and always the first one."""
    for number, model in enumerate(models):
        room -= len(model.model_dump_json().encode()) + 1  # and a comma
        if room < 0 and number > 0:
            return
        yield model


def signed(artifact: Artifact, store: ArtifactStore) -> str:
    """A URL that downloads the artifact within URL_LIFETIME."""
    return store.sign(artifact.key, name=artifact.name, seconds=int(URL_LIFETIME.total_seconds()))


def thumbnail_link(record: JobRecord, store: ArtifactStore, now: datetime) -> ArtifactLink | None:
    """A URL of the thumbnail of the job's first picture that has one; None if none has."""
    if not (record.job.status.is_terminal and record.job.lists_files and record.thumbnails):
        return None
    url = store.sign(
        thumbnail_key(record.job, record.thumbnails[0]),
        name="thumbnail.webp",
        seconds=int(URL_LIFETIME.total_seconds()),
        shown_as="image/webp",
    )
    return ArtifactLink(url=url, url_expires_at=now + URL_LIFETIME)


def link_of(
    artifact: Artifact,
    store: ArtifactStore,
    now: datetime,
    *,
    inline: bool,
    method: Literal["GET", "HEAD"],
) -> ArtifactLink | None:
    """A freshly signed URL for this method; None if `inline`, and the type may not be shown."""
    if inline and artifact.content_type not in INLINE_TYPES:
        return None
    seconds, shown_as = int(URL_LIFETIME.total_seconds()), artifact.content_type
    url = store.sign(
        artifact.key,
        name=artifact.name,
        seconds=seconds,
        shown_as=shown_as if inline else None,
        method=method,
    )
    return ArtifactLink(url=url, url_expires_at=now + URL_LIFETIME)


def _shown(
    record: JobRecord,
    numbers: range,
    artifacts: Sequence[Artifact],
    store: ArtifactStore,
    now: datetime,
) -> Iterator[ArtifactView]:
    views = (
        ArtifactView(
            number=number,
            url=signed(artifact, store),
            url_expires_at=now + URL_LIFETIME,
            seed=record.params.params.get("seed"),
            meta={"attempt": record.job.attempt},
            **asdict(artifact),
        )
        for number, artifact in zip(numbers, artifacts, strict=False)
    )
    return fitting(islice(views, MAX_ARTIFACTS_PER_PAGE), MAX_ARTIFACTS_BYTES)


def _cursor(first: int, total: int) -> str | None:
    """The cursor of the page that begins with this number; None if there is no such page."""
    return str(first) if first < total else None
