"""What a prompt has made: what its nodes report, and the files that exist.

reported files that exist      with their node, in the order of the nodes
pictures sent over the socket  with their node, in the order in which they came
texts                          with their node
other files below output/      with the node that mentions their name, if one does; and datasets/
files below temp/              only if there is nothing but values of the same nodes; marked so
reported files that are gone   one warning each
"""

from __future__ import annotations

import io
import os
import posixpath
from collections.abc import Iterable
from dataclasses import dataclass
from typing import IO

from comfyline.contract.media_types import kind_of
from comfyline.service.graphs.graph import Graph
from comfyline.service.jobs.result import ResultWarning
from gpu_worker.comfy.outcomes import NodeProblem, SentPicture
from gpu_worker.comfy.outputs import OutputFile, OutputText, Reported
from gpu_worker.workspace import DATASETS, HeldFile

UNKNOWN_NODE = ""  # of a file that no node reports


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """One thing that will be stored as an artifact."""

    name: str
    node: str
    kind: str
    content: HeldFile | OutputText | SentPicture
    temporary: bool = False

    def open(self) -> IO[bytes]:
        """Its bytes; it may be on disk, so do not call this on the event loop.

        Raises:
            OSError: it cannot be read.
        """
        match self.content:
            case HeldFile():
                return self.content.open()
            case OutputText(text=text):
                return io.BytesIO(text.encode(errors="replace"))
            case SentPicture():
                return io.BytesIO(self.content.read())

    def changed_at(self) -> tuple[int, int] | None:
        """Size and time of the last change of a file, which its node may still be writing.

        Raises:
            OSError: it is gone.
        """
        if not isinstance(self.content, HeldFile):
            return None
        found = os.lstat(self.content.held)
        return found.st_size, found.st_mtime_ns


def everything_made(
    reported: Reported,
    held: Iterable[HeldFile],
    graph: Graph,
    pictures: Iterable[SentPicture] = (),
) -> tuple[list[Made], list[ResultWarning]]:
    """The things to store, and a warning for each reported file that does not exist."""
    search = _Search(held, reported.files, graph)
    found = [made for file in reported.files if file.type != "temp" and (made := search.find(file))]
    found += [_of_picture(picture) for picture in pictures]
    found += [_of_text(text) for text in reported.texts]
    for kind in ("output", DATASETS):
        found += [_unreported(file, reported) for file in search.rest(kind)]
    if not found:
        found = _temporary(search, reported)
    return found, search.warnings


def _temporary(search: _Search, reported: Reported) -> list[Made]:
    """The temporary files, if no other node reports a value."""
    files = (file for file in reported.files if file.type == "temp")
    found = [made for file in files if (made := search.find(file))]
    found += [_unreported(file, reported) for file in search.rest("temp")]
    return found if reported.values.keys() <= {made.node for made in found} else []


class _Search:
    """Finds reported files among those that exist. Each is found once."""

    def __init__(
        self, held: Iterable[HeldFile], reported: Iterable[OutputFile], graph: Graph
    ) -> None:
        self.warnings: list[ResultWarning] = []
        self._left = {(file.type, file.path): file for file in held}
        self._used: set[tuple[str, str]] = set()
        self._graph = graph
        self._by_name: dict[str, list[tuple[str, str]]] = {}  # files that no node reports so
        for place in self._left.keys() - {(file.type, file.path) for file in reported}:
            self._by_name.setdefault(posixpath.basename(place[1]), []).append(place)

    def find(self, file: OutputFile) -> Made | None:
        """The file as it exists; None if it does not, or if it was found before."""
        place = self._place(file)
        if place in self._used:
            return None
        if place is None:
            self.warnings.append(_missing(file, self._graph))
            return None
        self._used.add(place)
        return Made(
            name=file.name,
            node=file.node,
            kind=file.kind,
            content=self._left.pop(place),
            temporary=file.type == "temp",
        )

    def rest(self, kind: str) -> list[HeldFile]:
        """The files in that folder of the engine that were not found."""
        return [file for file in self._left.values() if file.type == kind]

    def _place(self, file: OutputFile) -> tuple[str, str] | None:
        exact = (file.type, file.path)
        if exact in self._left or exact in self._used:
            return exact
        # Some nodes tell only the last folder of the path, or another name of the folder.
        named = [p for p in self._by_name.get(file.name, ()) if p[0] in (file.type, "output")]
        ends = [p for p in named if p[0] == file.type and p[1].endswith(f"/{file.path}")]
        places = ends or named
        return places[0] if len(places) == 1 else None


def _missing(file: OutputFile, graph: Graph) -> ResultWarning:
    node = graph.get(file.node)
    return ResultWarning(
        type="file_missing",
        message=f"The node reports the file {file.name!r}, which does not exist.",
        node_id=file.node,
        node_type=None if node is None else node["class_type"],
    )


def lost_warning(path: str) -> ResultWarning:
    """The warning about a file or folder that could not be taken from the engine."""
    message = f"{posixpath.basename(path)!r} could not be taken from ComfyUI's folder."
    return ResultWarning(type="file_not_stored", message=message)


def problem_warning(problem: NodeProblem) -> ResultWarning:
    """The warning about an output that ComfyUI left out because it is not valid."""
    return ResultWarning(
        type=problem.type,
        message=problem.text,
        node_id=problem.node_id,
        node_type=problem.node_type,
    )


def left_out_warning(count: int) -> ResultWarning:
    """The warning about pictures beyond what one job may send over ComfyUI's socket."""
    message = f"{count} pictures that nodes sent were left out, because there were too many."
    return ResultWarning(type="pictures_left_out", message=message)


def _of_picture(picture: SentPicture) -> Made:
    return Made(name=picture.name, node=picture.node, kind=kind_of(picture.name), content=picture)


def _of_text(text: OutputText) -> Made:
    return Made(name=text.name, node=text.node, kind=text.kind, content=text)


def _unreported(file: HeldFile, reported: Reported) -> Made:
    return Made(
        name=posixpath.basename(file.path),
        node=reported.node_of(file.path) or UNKNOWN_NODE,
        kind=kind_of(file.path),
        content=file,
        temporary=file.type == "temp",
    )
