"""Uploads: files that a caller sends for its jobs.

The key of an upload contains its owner and user, so that a job cannot use the upload of another.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import IO, Protocol

from comfyline.contract.ids import Principal, UploadId, qualified
from comfyline.contract.media_types import suffix_of
from comfyline.service.storage_names import UPLOADS_PREFIX

# Longer than the longest start deadline (7 days) and execution timeout (6 h) together, shorter than
# the bucket's own rule for the prefix.
UPLOAD_LIFETIME = timedelta(days=8)

_SUFFIX = re.compile(r"(?<=.)\.[A-Za-z0-9]{1,15}\Z", re.DOTALL)
# By these suffixes ffmpeg takes a file for a playlist, and opens each file that it names.
_PLAYLISTS = frozenset({".m3u", ".m3u8"})


def upload_key(principal: Principal, upload_id: UploadId) -> str:
    """The key of the upload of the owner or of its user in the bucket."""
    folder = hashlib.sha256(qualified(principal).encode()).hexdigest()[:32]
    return f"{UPLOADS_PREFIX}{folder}/{upload_id}"


def outlives(stored_at: datetime, needed_until: datetime) -> bool:
    """Whether an upload that was stored at that time is kept until `needed_until`."""
    return stored_at + UPLOAD_LIFETIME >= needed_until


@dataclass(frozen=True, slots=True)
class UploadForm:
    """A form for the client to post, with the file as its last field."""

    url: str
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class StoredUpload:
    """The metadata of a stored upload."""

    content_type: str
    bytes: int
    stored_at: datetime
    name: str = ""  # as the caller gave it: any characters; empty if it gave none


def file_suffix(stored: StoredUpload) -> str:
    """The suffix, with its dot, by which a node knows the file's format; empty if it has none.

    It is that of the caller's name, or that of the media type if the name has no usable suffix. A
    playlist has none.
    """
    found = _SUFFIX.search(stored.name)
    suffix = found[0].lower() if found else suffix_of(stored.content_type)
    return "" if suffix in _PLAYLISTS else suffix


class UploadStore(Protocol):
    """The store of uploads."""

    def offer(
        self,
        key: str,
        *,
        name: str,
        content_type: str,
        size: int,
        sha256: str | None,
        seconds: int,
    ) -> UploadForm:
        """A form that stores one file of this name, type and size at `key`.

        The form is valid for `seconds`. Making it makes no call.
        """

    def put(self, key: str, body: IO[bytes], *, name: str, content_type: str) -> None:
        """Store a file at `key`, or overwrite the one that is there."""

    def copy(self, source: str, key: str, *, name: str, content_type: str) -> bool:
        """Store the bytes at `source`, an upload or an artifact, at `key` with this name and type.

        The copy lives as long as a new file, also at the same key. False: there is no file.
        """

    def sign(self, key: str, *, name: str, seconds: int) -> str:
        """A URL that downloads the file as `name` and is valid for `seconds`. Makes no call."""

    def look(self, key: str) -> StoredUpload | None:
        """The upload at `key`; None if no file has been stored there."""

    def fetch(self, key: str, into: IO[bytes]) -> StoredUpload | None:
        """Write the file at `key` into `into`; None if there is no file."""
