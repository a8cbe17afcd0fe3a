"""The functions of Comfy API v2. A function serves the routes that need the same permissions."""

from __future__ import annotations

from comfyline.service.settings import (
    ArtifactsBucket,
    EngineSettings,
    JobsTable,
    OwnersTable,
    PublicAddress,
    QueueSettings,
    WaitSettings,
)
from infra import grants
from infra.declarations import BUSY_MEMORY_MB, WAITING_TIMEOUT, Function, Route
from infra.rows.http_api import SUBMIT_SETTINGS

ROWS = (
    Function(
        name="SubmitComfyJob",
        routes=(Route("POST", "/api/v2/jobs"),),
        settings=(*SUBMIT_SETTINGS, PublicAddress),
        grants=(
            *grants.ACCEPT_JOB,
            # These find the job of a key, and the tickets before the new job.
            grants.GET_JOB,
            grants.COUNT_TICKETS,
            # These copy an output of a job that the new job uses.
            grants.READ_JOB,
            grants.SIGN_ARTIFACT,
            grants.STORE_UPLOAD,
        ),
    ),
    Function(
        name="ReadComfyJobs",
        routes=(
            Route("GET", "/api/v2/jobs"),
            Route("GET", "/api/v2/jobs/{job_id}"),
            Route("GET", "/api/v2/jobs/{job_id}/workflow"),
            Route("GET", "/api/v2/jobs/{job_id}/logs"),
        ),
        settings=(QueueSettings, JobsTable, ArtifactsBucket, PublicAddress),
        grants=(
            grants.PAGE_JOBS,
            grants.READ_JOBS,
            grants.GET_JOB,
            grants.READ_JOB,
            grants.CHANGE_JOB,
            grants.SIGN_ARTIFACT,
            grants.COUNT_TICKETS,
        ),
        timeout=WAITING_TIMEOUT,  # it repeats reads, since clients of Comfy do not
    ),
    Function(
        name="FollowComfyJob",
        routes=(Route("GET", "/api/v2/jobs/{job_id}/events"),),
        settings=(
            *(QueueSettings, JobsTable, OwnersTable, ArtifactsBucket, WaitSettings, PublicAddress),
        ),
        grants=(
            grants.READ_JOB,
            grants.GET_JOB,
            grants.CHANGE_JOB,
            grants.SIGN_ARTIFACT,
            grants.COUNT_TICKETS,
            grants.TAKE_PLACE,
        ),
        timeout=WAITING_TIMEOUT,
    ),
    Function(
        name="ServeComfyAssets",
        routes=(
            Route("POST", "/api/v2/assets"),
            Route("POST", "/api/v2/assets/from-hash"),
            Route("HEAD", "/api/v2/assets/by-hash/{hash}"),
            Route("GET", "/api/v2/assets/{asset_id}"),
            Route("GET", "/api/v2/assets/{asset_id}/content"),
            Route("DELETE", "/api/v2/assets/{asset_id}"),
        ),
        settings=(JobsTable, OwnersTable, ArtifactsBucket, EngineSettings),
        grants=(
            grants.KEEP_ASSETS,
            grants.STORE_UPLOAD,
            grants.CHECK_UPLOAD,
            grants.FIND_MISSING_UPLOAD,
            grants.READ_JOB,
            grants.CHANGE_JOB,
            grants.SIGN_ARTIFACT,
        ),
        timeout=WAITING_TIMEOUT,  # it repeats reads, and hashes files of 100 MB
        memory=BUSY_MEMORY_MB,  # hashing and copying files
    ),
)
