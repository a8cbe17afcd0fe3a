"""Make commands of the requests about assets, and answers of assets and outputs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from comfyline.api.comfy_v2.multipart import form_of
from comfyline.api.v1.results import URL_LIFETIME, signed
from comfyline.contract.comfy_v2 import assets as models
from comfyline.service.errors import FieldError, InvalidRequest
from comfyline.service.files.artifacts import ArtifactStore
from comfyline.service.files.asset_store import Asset
from comfyline.service.files.assets import NewAsset
from comfyline.service.files.uploads import UploadStore
from comfyline.service.jobs.job import Job
from comfyline.service.jobs.result import Artifact

# As of the uploads of API v1; parameters, such as a charset, are dropped.
_MEDIA_TYPE = re.compile(r"[a-z]{1,31}/[a-z0-9][a-z0-9.+-]{0,127}")


def new_asset(body: bytes, content_type: str | None) -> NewAsset:
    """The file that the form has.

    Raises:
        MalformedRequest: the body is not a multipart form.
        InvalidRequest: a field is missing or malformed.
    """
    form = form_of(body, content_type)
    for name in ("content_type", "file_path"):
        if not form.fields.get(name):
            raise InvalidRequest(f"The form needs the field {name}.")
    media_type = form.fields["content_type"].partition(";")[0].strip().lower()
    if not _MEDIA_TYPE.fullmatch(media_type):
        raise InvalidRequest("content_type must be a media type, such as image/png.")
    if not form.file:
        raise InvalidRequest("The file is empty.")
    return NewAsset(
        file_path=form.fields["file_path"],
        content_type=media_type,
        body=form.file,
        expected_hash=form.fields.get("expected_hash"),
    )


def from_hash(sent: Any) -> models.FromHash:
    """The body of a request for an asset over known bytes.

    Raises:
        InvalidRequest: a field is missing or invalid.
    """
    try:
        return models.FromHash.model_validate(sent)
    except ValidationError as error:
        errors = [FieldError(("body", *e["loc"]), e["msg"]) for e in error.errors()[:10]]
        raise InvalidRequest("The request has invalid fields.", errors) from error


@dataclass(frozen=True, slots=True)
class AssetViews:
    """Makes answers; URLs are signed at that moment."""

    uploads: UploadStore
    artifacts: ArtifactStore
    now: datetime

    def asset(self, asset: Asset, *, is_new: bool | None = None) -> models.Asset:
        """A file that was uploaded."""
        return models.Asset(
            id=asset.id,
            hash=asset.hash,
            size_bytes=asset.size_bytes,
            content_type=asset.content_type,
            created_at=asset.created_at,
            url=self.url_of(asset),
            url_expires_at=self.now + URL_LIFETIME,
            file_path=asset.file_path,
            created_new=is_new,
            expires_at=asset.expires_at,
        )

    def output(self, id_: str, job: Job, artifact: Artifact) -> models.Asset:
        """An output of a job."""
        return models.Asset(
            id=id_,
            hash=None,
            size_bytes=artifact.bytes,
            content_type=artifact.content_type,
            created_at=job.finished_at or job.queued_at,
            url=signed(artifact, self.artifacts),
            url_expires_at=self.now + URL_LIFETIME,
            file_path=artifact.name,
            expires_at=job.expires_at,
            job_id=job.id,
        )

    def url_of(self, asset: Asset) -> str:
        """A URL that downloads the asset within URL_LIFETIME."""
        name = asset.file_path.rpartition("/")[2]
        seconds = int(URL_LIFETIME.total_seconds())
        return self.uploads.sign(asset.key, name=name, seconds=seconds)
