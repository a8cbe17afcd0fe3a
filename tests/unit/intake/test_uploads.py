"""Which uploads a job can use.

Which input an upload fits is decided by the engine's description, else by the input's name.
"""

from __future__ import annotations

from collections import Counter
from itertools import cycle, islice
from typing import Any

import pytest

from comfyline.adapters.memory.files import InMemoryUploadStore
from comfyline.contract.ids import UploadId
from comfyline.contract.limits import MAX_JOB_UPLOAD_BYTES, MAX_UPLOAD_REFERENCES
from comfyline.service.access.slots import Limits
from comfyline.service.errors import InvalidRequest, RequestTooLarge, TooManyJobs
from comfyline.service.files.uploads import StoredUpload, upload_key
from comfyline.service.graphs.engine_nodes import EngineNodes
from comfyline.service.intake.check_uploads import check_uploads, upload_references
from tests.support import recordings
from tests.support.builders import NOW, a_job
from tests.support.impatient import ONE_JOB
from tests.support.world import World
from tests.unit.graphs.graphs import node

UNKNOWN = EngineNodes()
KNOWN = EngineNodes.parse(recordings.object_info())
BOTH = pytest.mark.parametrize("nodes", [UNKNOWN, KNOWN], ids=["unknown engine", "known engine"])

ID = UploadId("upl_" + "0" * 26)


def problem(
    place: str, content_type: str, nodes: EngineNodes = UNKNOWN, name: str = ""
) -> str | None:
    """Why a node with this upload is refused; None if it is accepted."""
    class_type, _, input_name = place.partition(".")
    job, uploads = a_job(), InMemoryUploadStore()
    uploads.files[upload_key(job.owner, ID)] = StoredUpload(content_type, 3, NOW, name)
    graph = {"1": node(class_type, **{input_name: f"upload:{ID}"})}
    try:
        check_uploads(job, upload_references(graph), uploads=uploads, nodes=lambda: nodes)
    except InvalidRequest as refusal:
        (error,) = refusal.errors
        start = f"node 1 ({class_type}), input {input_name}: "
        assert error.msg.startswith(start)
        return error.msg.removeprefix(start)
    return None


FITS = [
    ("LoadImage.image", "image/png"),
    ("LoadImage.image", "image/gif"),
    ("LoadImage.image", "image/webp"),
    ("LoadImage.image", "image/x-exr"),
    ("LoadImageMask.image", "image/png"),
    ("LoadImageOutput.image", "image/jpeg"),
    ("Painter.mask", "image/png"),
    ("LoadAudio.audio", "audio/flac"),
    ("LoadAudio.audio", "video/mp4"),
    ("LoadVideo.file", "video/mp4"),
    ("LoadVideo.file", "image/gif"),
    ("LoadVideo.file", "image/webp"),
    ("Load3D.model_file", "model/gltf-binary"),
    ("Load3D.model_file", "application/octet-stream"),
    ("LoadLatent.latent", "application/x-comfyui-latent"),
    ("LoadLatent.latent", "application/octet-stream"),
    ("VHS_LoadVideo.video", "video/webm"),
    ("VHS_LoadVideo.video", "image/gif"),
    ("VHS_LoadVideo.video", "image/webp"),
    ("VHS_LoadVideoPath.video", "video/mp4"),
    ("VHS_LoadAudioUpload.audio", "audio/mpeg"),
    ("CPackInputFile.file", "image/png"),
    ("LoadAndResizeImage.image", "image/png"),
    ("Eden_AllMediaLoader.path", "audio/wav"),
    ("AnyLoader.audio_file", "audio/wav"),
    ("AnyLoader.model_file", "model/obj"),
    ("AnyLoader.image_path", "image/png"),
    ("AnyLoader.images", "image/png"),
    ("AnyLoader.image1", "image/png"),
    ("AnyLoader.start_image", "image/png"),
    ("AnyLoader.reference_audio", "audio/ogg"),
    ("AnyLoader.subtitles", "text/plain"),
    ("AnyLoader.lora", "application/x-safetensors"),
    ("AnyLoader.whatever", "application/zip"),
]


@BOTH
@pytest.mark.parametrize(("place", "content_type"), FITS)
def test_a_file_fits(place: str, content_type: str, nodes: EngineNodes) -> None:
    assert problem(place, content_type, nodes) is None


@BOTH
@pytest.mark.parametrize(
    ("place", "content_type"),
    [
        ("LoadImage.image", "audio/flac"),
        ("LoadImage.image", "video/mp4"),
        ("LoadImage.image", "text/plain"),
        ("LoadAudio.audio", "image/png"),
        ("VHS_LoadVideo.video", "audio/flac"),
        ("VHS_LoadVideo.video", "image/png"),
        ("AnyLoader.mask", "model/obj"),
    ],
)
def test_a_file_of_another_kind_does_not(place: str, content_type: str, nodes: EngineNodes) -> None:
    message = problem(place, content_type, nodes)
    assert message is not None
    assert message.endswith(f"the upload is {content_type}")


@pytest.mark.parametrize("place", ["LoadVideo.file", "Load3D.model_file"])
def test_the_engine_decides_where_it_is_known(place: str) -> None:
    assert problem(place, "audio/flac", UNKNOWN) is None
    assert (problem(place, "audio/flac", KNOWN) is None) is (place == "Load3D.model_file")


@pytest.mark.parametrize("place", ["KSampler.model", "KSampler.seed", "CLIPTextEncode.text"])
def test_an_input_that_takes_no_file_is_known_by_the_engine_only(place: str) -> None:
    assert problem(place, "image/png", KNOWN) == "this input takes no uploaded file"
    assert problem(place, "image/png", UNKNOWN) is None


@BOTH
@pytest.mark.parametrize(
    ("name", "fits"), [("a.png", True), ("a.PNG", True), ("a.flac", False), ("a.bin", True)]
)
def test_the_name_tells_what_the_type_does_not(name: str, fits: bool, nodes: EngineNodes) -> None:
    message = problem("LoadImage.image", "application/octet-stream", nodes, name)
    assert (message is None) is fits


# --- how many, how large, and when ----------------------------------------------------------------


class CountedUploads(InMemoryUploadStore):
    """Counts how often the store is asked for each upload."""

    def __init__(self) -> None:
        super().__init__()
        self.looks: Counter[str] = Counter()

    def look(self, key: str) -> StoredUpload | None:
        self.looks[key] += 1
        return super().look(key)


class WithUploads:
    """A world with an owner of so many uploads, and a workflow that names each of them in turn."""

    def __init__(self, uploads: int = 1, size: int = 3) -> None:
        self.world = World()
        self.uploads = self.world.uploads = CountedUploads()
        self.ids = [f"upl_{n:026}" for n in range(uploads)]
        for upload_id in self.ids:
            key = upload_key(self.world.owner, UploadId(upload_id))
            self.uploads.files[key] = StoredUpload("image/png", size, self.world.clock())

    def workflow(self, references: int) -> dict[str, Any]:
        ids = islice(cycle(self.ids), references)
        loads = {str(n): node("LoadImage", image=f"upload:{id_}") for n, id_ in enumerate(ids)}
        return {"workflow": {**loads, "save": node("SaveImage", images=["0", 0])}}


def test_the_store_is_asked_once_for_each_upload() -> None:
    sender = WithUploads(uploads=2)
    sender.world.submit(sender.workflow(references=MAX_UPLOAD_REFERENCES))
    assert sorted(sender.uploads.looks.values()) == [1, 1]


def test_more_references_than_the_limit_are_refused_without_asking_the_store() -> None:
    sender = WithUploads()
    with pytest.raises(InvalidRequest, match=str(MAX_UPLOAD_REFERENCES)):
        sender.world.submit(sender.workflow(references=MAX_UPLOAD_REFERENCES + 1))
    assert not sender.uploads.looks


@pytest.mark.parametrize("more", [0, 1])
def test_the_uploads_of_a_job_have_a_limit_in_all(more: int) -> None:
    sender = WithUploads(uploads=10, size=MAX_JOB_UPLOAD_BYTES // 10 + more)
    sent = sender.workflow(references=20)
    if not more:
        assert sender.world.submit(sent)
        return
    with pytest.raises(RequestTooLarge):
        sender.world.submit(sent)


def test_a_post_beyond_a_limit_does_not_ask_the_store() -> None:
    sender = WithUploads()
    sender.world.submit(limits=ONE_JOB)
    with pytest.raises(TooManyJobs):
        sender.world.submit(sender.workflow(references=5), limits=ONE_JOB)
    assert not sender.uploads.looks


def test_a_post_whose_upload_is_missing_gives_its_slot_back() -> None:
    sender = WithUploads()
    sent = sender.workflow(references=1)
    sender.uploads.files.clear()
    with pytest.raises(InvalidRequest):
        sender.world.submit(sent, limits=ONE_JOB)
    assert not sender.world.owners.slots(0)
    assert sender.world.submit(limits=ONE_JOB)


@pytest.mark.parametrize("limits", [Limits(), Limits(max_active_jobs=5)])
def test_a_replay_is_answered_after_its_upload_was_removed(limits: Limits) -> None:
    sender = WithUploads()
    sent = sender.workflow(references=1)
    first = sender.world.submit(sent, key="once", limits=limits)
    sender.uploads.files.clear()
    again = sender.world.submit(sent, key="once", limits=limits)
    assert (again.replayed, again.job.id) == (True, first.job.id)
