"""Uploads: files that a caller sends for its jobs, their keys, and how a graph names them.

In an input, the value `upload:<id>` means the owner's upload of that id. The worker replaces the
value by the name of the fetched file. The key of an upload contains the owner, so that a graph
cannot name the upload of another owner.
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

# The kind of file that an input takes, by the input's name in ComfyUI's loader nodes.
_KINDS: Mapping[str, str] = {
    "image": "image",
    "mask": "image",
    "audio": "audio",
    "video": "video",
    "file": "video",
}
_REFERENCE = re.compile("upload:(" + UPLOAD_ID_PATTERN.strip("^$") + ")")


def upload_key(owner: OwnerId, upload_id: UploadId) -> str:
    """The key of the owner's upload in the bucket."""
    return f"{UPLOADS_PREFIX}{hashlib.sha256(owner.encode()).hexdigest()[:32]}/{upload_id}"


@dataclass(frozen=True, slots=True)
class Reference:
    """An input of a graph that names an upload."""

    node: str
    node_type: str
    input: str
    upload_id: UploadId

    @property
    def kind(self) -> str | None:
        """The kind of file that the input takes: image, audio or video. None: it takes no file."""
        return _KINDS.get(self.input)

    def error(self, message: str) -> FieldError:
        """An error of this input."""
        text = f"node {self.node} ({self.node_type}), input {self.input}: {message}"
        return FieldError(("body", "inputs", f"{self.node}.{self.input}"), text)


def references(graph: Graph) -> Iterator[Reference]:
    """Every input of the graph that names an upload."""
    for node_id, node in graph.items():
        for name, value in node["inputs"].items():
            if isinstance(value, str) and (match := _REFERENCE.fullmatch(value)):
                yield Reference(node_id, node["class_type"], name, UploadId(match[1]))


def with_inputs(graph: Graph, inputs: Mapping[str, str]) -> Graph:
    """The graph with the inputs replaced that `inputs` names: `"<node>.<input>": "upload:<id>"`.

    Raises:
        InvalidRequest: the graph does not have such a node, or the value names no upload.
    """
    placed: dict[str, Any] = dict(graph)
    errors = []
    for place, value in inputs.items():
        node_id, _, name = place.partition(".")
        if node_id not in placed or not name:
            message = 'must be "<node>.<input>" with a node of the workflow'
            errors.append(FieldError(("body", "inputs", place), message))
        elif not _REFERENCE.fullmatch(value):
            errors.append(FieldError(("body", "inputs", place), 'must be "upload:<id>"'))
        else:
            node = placed[node_id]
            placed[node_id] = {**node, "inputs": {**node["inputs"], name: value}}
    if errors:
        raise InvalidRequest("The inputs cannot be placed.", errors)
    return placed


def with_files(graph: Graph, name_of: Callable[[UploadId], str]) -> Graph:
    """The graph with each reference to an upload replaced by the name of its file."""
    placed: dict[str, Any] = dict(graph)
    for found in references(graph):
        node = placed[found.node]
        named = {**node["inputs"], found.input: name_of(found.upload_id)}
        placed[found.node] = {**node, "inputs": named}
    return placed


def outlives(stored_at: datetime, needed_until: datetime) -> bool:
    """Whether an upload that was stored then is kept until `needed_until`."""
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


class UploadStore(Protocol):
    """The store of uploads."""

    def offer(
        self, key: str, *, content_type: str, size: int, sha256: str | None, seconds: int
    ) -> UploadForm:
        """A form that stores one file of this type and size at `key`.

        The form is valid for `seconds`. Making it makes no call.
        """

    def look(self, key: str) -> StoredUpload | None:
        """The upload at `key`; None if no file has been stored there."""

    def fetch(self, key: str, into: IO[bytes]) -> StoredUpload | None:
        """Write the file at `key` into `into`; None if there is no file."""
