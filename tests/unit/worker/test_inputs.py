"""Uploads are fetched once each, and named in the graph as their nodes need it."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import pytest

from comfyline.contract.ids import OwnerId, UploadId
from comfyline.service.files.uploads import StoredUpload
from comfyline.service.graphs.engine_nodes import EngineNodes
from gpu_worker.inputs import InputMissing, Inputs, input_name, with_input_names
from gpu_worker.workspace import Hold
from tests.support.builders import a_job, now

ONE, TWO = UploadId("upl_" + "1" * 26), UploadId("upl_" + "2" * 26)
GRAPH = {
    "1": {"class_type": "LoadImage", "inputs": {"image": f"upload:{ONE}"}},
    "2": {
        "class_type": "LoadVideoPath",
        "inputs": {"video": f"upload:{TWO}", "again": f"upload:{ONE}"},
    },
}
NODES = EngineNodes.parse(
    {
        "LoadVideoPath": {
            "output_node": False,
            "python_module": "custom_nodes.x",
            "input": {"required": {"video": ["STRING", {}]}},
        }
    }
)
TYPES = {ONE: "image/png", TWO: "video/mp4"}


class Uploads:
    """Has the uploads of `known`, and counts each fetch."""

    def __init__(self, *known: UploadId) -> None:
        self._known = known
        self.fetched: list[str] = []

    def fetch(self, key: str, into: IO[bytes]) -> StoredUpload | None:
        self.fetched.append(key)
        for upload in self._known:
            if key.endswith(upload):
                into.write(upload.encode())
                return StoredUpload(TYPES[upload], len(upload), now())
        return None


async def test_each_upload_is_fetched_once_and_keeps_its_type(tmp_path: Path) -> None:
    uploads = Uploads(ONE, TWO)
    files = await Inputs(uploads).fetch(a_job(owner=OwnerId("a")), GRAPH, Hold(tmp_path))
    assert len(uploads.fetched) == 2
    assert [input_name(upload, file) for upload, file in files.items()] == [
        f"{ONE}.png",
        f"{TWO}.mp4",
    ]
    assert {file.read_text() for file in files.values()} == {ONE, TWO}


async def test_an_upload_that_is_gone_names_its_node(tmp_path: Path) -> None:
    with pytest.raises(InputMissing) as missing:
        await Inputs(Uploads(ONE)).fetch(a_job(), GRAPH, Hold(tmp_path))
    assert (missing.value.reference.node, missing.value.reference.input) == ("2", "video")


@pytest.mark.parametrize(
    ("base", "path"), [("/work", f"/work/input/{TWO}.mp4"), (None, f"{TWO}.mp4")]
)
def test_a_node_that_reads_paths_gets_the_whole_path(base: str | None, path: str) -> None:
    files = {ONE: Path("1.png"), TWO: Path("2.mp4")}
    placed = with_input_names(GRAPH, files, NODES, base)
    assert placed["1"]["inputs"] == {"image": f"{ONE}.png"}
    assert placed["2"]["inputs"] == {"video": path, "again": f"{ONE}.png"}
