"""The keys of a job's files: artifacts, thumbnails and previews."""

from __future__ import annotations

from comfyline.service.jobs.job import Job
from comfyline.service.jobs.result import Artifact
from comfyline.service.storage_names import JOBS_PREFIX, THUMBNAILS_FOLDER


def artifact_key(job: Job, number: int, name: str) -> str:
    """The key of one file of the job's attempt; `name` must be safe in a path."""
    return f"{JOBS_PREFIX}{job.attempt_path}/{number}_{name}"


def number_made(artifact: Artifact) -> int:
    """The number that the artifact had among what its attempt has made; see `artifact_key`."""
    return int(artifact.key.rpartition("/")[2].partition("_")[0])


def thumbnail_key(job: Job, number: int) -> str:
    """The key of the thumbnail of the job's artifact `number`; no artifact has that name.

    It is under the attempt's prefix, so whatever removes the attempt's files removes it too.
    """
    return f"{JOBS_PREFIX}{job.attempt_path}/{THUMBNAILS_FOLDER}{number}.webp"


def preview_key(job: Job) -> str:
    """The key of the newest preview of the job's attempt; no artifact has that name."""
    return f"{JOBS_PREFIX}{job.attempt_path}/preview"


def void_prefixes(job: Job) -> list[str]:
    """The prefixes of an ended job's void files, which no reader is shown.

    Void are the files of every attempt but the one that is shown, and the previews.
    """
    shown = job.attempt if job.lists_files else None
    attempts = (n for n in range(1, job.attempt + 1) if n != shown)
    prefixes = [f"{job.artifact_prefix}{attempt}/" for attempt in attempts]
    return [*prefixes, preview_key(job)] if job.options.wants_previews and shown else prefixes
