"""The bucket: check each file's key alone, note it, and check files against what names them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from comfyline.contract.ids import UPLOAD_ID_PATTERN, OwnerId, UploadId, principal_of
from comfyline.contract.limits import MAX_UPLOAD_BYTES
from comfyline.operate.audit.findings import Finding
from comfyline.operate.audit.index import Index
from comfyline.operate.audit.source import LIFECYCLE_LAG, Source, StoredFile, Terms, micro
from comfyline.service.files.uploads import UPLOAD_LIFETIME, upload_key
from comfyline.service.storage_names import JOBS_PREFIX, MODELS_PREFIX, UPLOADS_PREFIX

_ARTIFACT_KEY = re.compile(
    rf"{JOBS_PREFIX}(?P<job>[^/]+)/(?P<incarnation>[0-9a-f]{{1,15}})-(?P<attempt>\d{{1,9}})/.+",
    re.DOTALL,
)
_UPLOAD_KEY = re.compile(rf"{UPLOADS_PREFIX}[0-9a-f]{{32}}/{UPLOAD_ID_PATTERN.strip('^$')}")


class Files:
    """Checks the bucket."""

    def __init__(self, source: Source, index: Index, terms: Terms) -> None:
        self._source, self._index, self._terms = source, index, terms
        self.count = self.bytes = 0

    def findings(self) -> Iterator[Finding]:
        """List the bucket, fill the index, and check every key alone."""
        for file in self._source.files():
            self.count += 1
            self.bytes += file.bytes
            yield from self._of_file(file)

    def _of_file(self, file: StoredFile) -> Iterator[Finding]:
        if match := _ARTIFACT_KEY.fullmatch(file.key):
            of_job = {
                "job_id": match["job"],
                "incarnation": int(match["incarnation"], 16),
                "attempt": int(match["attempt"]),
            }
            self._note(file, **of_job)
        elif file.key.startswith(UPLOADS_PREFIX):
            self._note(file)
            yield from self._of_upload(file)
        elif not file.key.startswith(MODELS_PREFIX) and file.stored_at < self._terms.settled:
            yield Finding("file", file.key, "has a key that no part of the service uses")

    def _note(self, file: StoredFile, **of_job: object) -> None:
        nothing = {"job_id": None, "incarnation": None, "attempt": None}
        self._index.add(
            "files",
            key=file.key,
            bytes=file.bytes,
            stored_at=micro(file.stored_at),
            **(of_job or nothing),
        )

    def _of_upload(self, file: StoredFile) -> Iterator[Finding]:
        if not _UPLOAD_KEY.fullmatch(file.key):
            yield Finding("file", file.key, "has a key that no upload can have")
        if file.stored_at + UPLOAD_LIFETIME + LIFECYCLE_LAG < self._terms.began_at:
            yield Finding("file", file.key, "is an upload that S3 should have deleted")
        if file.bytes > MAX_UPLOAD_BYTES:
            yield Finding("file", file.key, f"is an upload of {file.bytes} bytes")

    # --- after everything was read ----------------------------------------------------------------

    def missing_uploads(self) -> Iterator[Finding]:
        """Uploads that a waiting or running job names, and that are not there."""
        query = """SELECT n.upload AS upload, j.id AS job_id, j.owner AS owner, j.user AS user
            FROM needed n
            JOIN jobs j ON j.id = n.job_id WHERE j.is_live AND j.queued_at < :settled"""
        for row in self._index.rows(query, {"settled": micro(self._terms.settled)}):
            caller = principal_of(OwnerId(row["owner"]), row["user"])
            key = upload_key(caller, UploadId(row["upload"]))
            if not any(self._index.rows("SELECT 1 FROM files WHERE key = :key", {"key": key})):
                yield Finding("upload", row["upload"], f"is missing, but {row['job_id']} needs it")

    def altered(self) -> Iterator[Finding]:
        """Listed files with other bytes than their job has stored. This reads every listed file."""
        query = """SELECT l.key AS key, l.sha256 AS sha256 FROM listed l JOIN jobs j
            ON j.id = l.job_id AND l.incarnation = j.queued_at AND l.attempt = j.attempt
            WHERE j.finished_at < :settled AND j.expires_at > :began AND j.lists_files"""
        times = {"settled": micro(self._terms.settled), "began": micro(self._terms.began_at)}
        for row in self._index.rows(query, times):
            found = self._source.sha256(row["key"])
            if found not in (None, row["sha256"]):
                text = f"has the SHA-256 {found}, but {row['sha256']} in the list"
                yield Finding("artifact", row["key"], text)
