"""Files that a caller sends for a job: where they lie, how a graph names them.

An input whose value is `upload:<id>` stands for the owner's file of that id; the worker puts the
file's name in its place. The key holds the owner, so a reference can only ever mean a file of the
job's own owner.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import IO, Any, Protocol

from comfyline.contract.ids import UPLOAD_ID_PATTERN, OwnerId, UploadId
from comfyline.service.errors import FieldError, InvalidRequest
from comfyline.service.jobs.job import Graph
from comfyline.service.storage_names import UPLOADS_PREFIX

# Longer than the longest start deadline (7 days) and execution timeout (6 h) together, shorter than
# the bucket's own rule for the prefix.
UPLOAD_LIFETIME = timedelta(days=8)

# What kind of file an input takes, by its name, as ComfyUI's loaders and their kin call it.
_KINDS: Mapping[str, str] = {
    "image": "image",
    "mask": "image",
    "audio": "audio",
    "video": "video",
    "file": "video",
}
_REFERENCE = re.compile("upload:(" + UPLOAD_ID_PATTERN.strip("^$") + ")")


def upload_key(owner: OwnerId, upload_id: UploadId) -> str:
    """Where the owner's upload lies in the bucket."""
    return f"{UPLOADS_PREFIX}{hashlib.sha256(owner.encode()).hexdigest()[:32]}/{upload_id}"


@dataclass(frozen=True, slots=True)
class Reference:
    """An input of a graph that takes an uploaded file."""

    node: str
    node_type: str
    input: str
    upload_id: UploadId

    @property
    def kind(self) -> str | None:
        """image, audio or video; None where such an input takes no file."""
        return _KINDS.get(self.input)

    def error(self, message: str) -> FieldError:
        """A fault of this input."""
        text = f"node {self.node} ({self.node_type}), input {self.input}: {message}"
        return FieldError(("body", "inputs", f"{self.node}.{self.input}"), text)


def references(graph: Graph) -> Iterator[Reference]:
    """Every input of the graph that names an upload."""
    for node_id, node in graph.items():
        for name, value in node["inputs"].items():
            if isinstance(value, str) and (match := _REFERENCE.fullmatch(value)):
                yield Reference(node_id, node["class_type"], name, UploadId(match[1]))


def with_inputs(graph: Graph, inputs: Mapping[str, str]) -> Graph:
    """The graph with each `"<node>.<input>": "upload:<id>"` in its place.

    Raises:
        InvalidRequest: a place is not in the graph, or the value is no upload.
    """
    placed: dict[str, Any] = dict(graph)
    errors = []
    for place, value in inputs.items():
        node_id, _, name = place.partition(".")
        if node_id not in placed or not name:
            errors.append(FieldError(("body", "inputs", place), "no such node and input"))
        elif not _REFERENCE.fullmatch(value):
            errors.append(FieldError(("body", "inputs", place), 'an input is "upload:<id>"'))
        else:
            node = placed[node_id]
            placed[node_id] = {**node, "inputs": {**node["inputs"], name: value}}
    if errors:
        raise InvalidRequest("The inputs cannot be placed.", errors)
    return placed


def with_files(graph: Graph, name_of: Callable[[UploadId], str]) -> Graph:
    """The graph with the engine's file name where an upload was named."""
    placed: dict[str, Any] = dict(graph)
    for found in references(graph):
        node = placed[found.node]
        named = {**node["inputs"], found.input: name_of(found.upload_id)}
        placed[found.node] = {**node, "inputs": named}
    return placed


def outlives(stored_at: datetime, needed_until: datetime) -> bool:
    """Whether an upload is still there when its job may last need it."""
    return stored_at + UPLOAD_LIFETIME >= needed_until


@dataclass(frozen=True, slots=True)
class UploadForm:
    """A form that a browser or a client posts, with the file as its last field."""

    url: str
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class StoredUpload:
    """An upload that has arrived."""

    content_type: str
    bytes: int
    stored_at: datetime


class UploadStore(Protocol):
    """Files that callers send for their jobs to use."""

    def offer(
        self, key: str, *, content_type: str, size: int, sha256: str | None, seconds: int
    ) -> UploadForm:
        """A form that stores exactly one file of that type and size at `key`, for that long.

        Makes no call.
        """

    def look(self, key: str) -> StoredUpload | None:
        """What lies at `key`, None if nothing has arrived."""

    def fetch(self, key: str, into: IO[bytes]) -> StoredUpload | None:
        """Write the file at `key` into `into`; None if there is none."""
