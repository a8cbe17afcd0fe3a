"""The functions that make short-lived credentials, and those that read the cookie of a session."""

from __future__ import annotations

from comfyline.service.settings import (
    ArtifactsBucket,
    ConnectionsTable,
    JobsTable,
    KeysTable,
    PublicAddress,
    SignInSettings,
)
from infra import grants
from infra.declarations import Function, Route
from infra.grants import Resource, may

ROWS = (
    Function(
        name="Sessions",
        routes=(
            Route("POST", "/api/v1/sessions", reads_cookie=True),
            Route("DELETE", "/api/v1/sessions", reads_cookie=True),
            Route("POST", "/api/v1/sessions/token", reads_cookie=True),
            Route("POST", "/api/v1/sessions/links", reads_cookie=True),
            Route("GET", "/api/v1/sign-in", is_open=True),
        ),
        settings=(KeysTable, ConnectionsTable, PublicAddress, SignInSettings),
        grants=(
            grants.READ_KEY,
            may(
                "ReadSessions",
                Resource.CONNECTIONS,
                *("dynamodb:GetItem", "dynamodb:Query"),
                partition_keys="session#*",
            ),
            may(
                "StoreSecrets",
                Resource.CONNECTIONS,
                "dynamodb:PutItem",
                partition_keys=("session#*", "sessions#*", "ended", "token#*", "link#*"),
            ),
            may(
                "EndSecrets",
                Resource.CONNECTIONS,
                "dynamodb:DeleteItem",
                partition_keys=("session#*", "sessions#*", "link#*"),
            ),
        ),
    ),
    Function(
        name="CreateToken",
        routes=(Route("POST", "/api/v1/tokens"),),
        settings=(ConnectionsTable,),
        grants=(
            may("StoreToken", Resource.CONNECTIONS, "dynamodb:PutItem", partition_keys="token#*"),
        ),
    ),
    Function(
        name="GetArtifact",
        routes=(
            Route("GET", "/api/v1/jobs/{job_id}/artifacts/{number}", reads_cookie=True),
            Route("HEAD", "/api/v1/jobs/{job_id}/artifacts/{number}", reads_cookie=True),
        ),
        settings=(
            *(JobsTable, ArtifactsBucket),
            *(KeysTable, ConnectionsTable, PublicAddress, SignInSettings),
        ),
        grants=(
            grants.READ_JOB,
            grants.CHANGE_JOB,
            grants.SIGN_ARTIFACT,
            # These find the caller.
            grants.READ_KEY,
            grants.READ_SECRETS,
        ),
    ),
)
