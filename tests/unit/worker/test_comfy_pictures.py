"""Pictures on the socket: which of them are results, and what becomes of them."""

from __future__ import annotations

import errno
import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyline.service.graphs.engine_nodes import EngineNodes
from gpu_worker.comfy.frames import MAX_METADATA_BYTES, PictureFrame, TextFrame, read_frame
from gpu_worker.comfy.protocol import PictureSent, PromptPreviewed, PromptRun
from gpu_worker.comfy.senders import KNOWN_SENDERS, Senders
from gpu_worker.comfy.sent_pictures import PictureLimits, SentPictures
from gpu_worker.comfy.spool import Span, Spool
from tests.unit.worker.prompts import PROMPT_ID, message

PNG, JPEG, WEBP = b"\x89PNG\r\n\x1a\nx", b"\xff\xd8\xff\xe0x", b"RIFF\0\0\0\0WEBPx"
GRAPH = {
    "1": {"class_type": "KSampler", "inputs": {}},
    "2": {"class_type": "SaveImageWebsocket", "inputs": {"images": ["1", 0]}},
    "3": {"class_type": "OtherSender", "inputs": {"images": ["1", 0]}},
    "4": {"class_type": "NeverHeardOf", "inputs": {"images": ["1", 0]}},
}
NODES = EngineNodes.parse(
    {
        "KSampler": {"output_node": False, "python_module": "nodes"},
        "OtherSender": {"output_node": True, "python_module": "custom_nodes.other"},
    }
)


def plain(picture: bytes, declared: int = 1) -> bytes:
    """Event 1."""
    return struct.pack(">II", 1, declared) + picture


def named(picture: bytes, **about: Any) -> bytes:
    """Event 4."""
    metadata = json.dumps({"prompt_id": PROMPT_ID, "image_type": "image/png", **about}).encode()
    return struct.pack(">II", 4, len(metadata)) + metadata + picture


def a_run(*, previews: bool = False, nodes: EngineNodes = NODES) -> PromptRun:
    return PromptRun(PROMPT_ID, GRAPH, Senders(nodes, previews))


def kinds(run: PromptRun, frame: bytes) -> list[str]:
    events = run.receive(frame)
    return [type(e).__name__ for e in events if isinstance(e, PictureSent | PromptPreviewed)]


# --- the prompt and the node of a picture ---------------------------------------------------------


def test_pictures_count_of_a_round_that_starts_after_the_end_of_all_known_ones_was_seen() -> None:
    run = PromptRun(PROMPT_ID, GRAPH, Senders(NODES, False), adopts=True)
    run.receive(message("execution_success"))
    outputs = {"1": {"unfinished_batch": [True]}}  # a node has queued a second round
    run.receive_history({"status": {"status_str": "success"}, "outputs": outputs})
    assert run.outcome is not None
    run.receive(message("execution_start", prompt_id="second"))
    run.receive(message("executing", prompt_id="second", node="2"))
    assert kinds(run, plain(PNG)) == ["PictureSent"]


@pytest.mark.parametrize("frame", [plain, named])
@pytest.mark.parametrize(
    ("picture", "content_type"), [(PNG, "image/png"), (JPEG, "image/jpeg"), (WEBP, "image/webp")]
)
@pytest.mark.parametrize("node", ["2", "3"])
def test_a_picture_that_comes_while_an_output_node_runs_is_a_result(
    frame: Any, picture: bytes, content_type: str, node: str
) -> None:
    run = a_run()
    run.receive(message("executing", node=node))
    (sent,) = run.receive(frame(picture))
    assert isinstance(sent, PictureSent)
    assert (sent.node, sent.content_type, sent.picture) == (node, content_type, picture)


@pytest.mark.parametrize("node", ["1", "4"])
def test_a_picture_of_another_node_is_none(node: str) -> None:
    run = a_run()
    run.receive(message("executing", node=node))
    assert kinds(run, plain(PNG)) == []
    assert kinds(run, named(PNG)) == ["PromptPreviewed"]


def test_without_object_info_only_known_senders_send_results() -> None:
    run = a_run(nodes=EngineNodes())
    for node, expected in {"2": ["PictureSent"], "3": []}.items():
        run.receive(message("executing", node=node))
        assert kinds(run, plain(PNG)) == expected


def test_a_jpeg_of_an_output_node_may_be_a_preview_if_the_job_wants_previews() -> None:
    run = a_run(previews=True)
    for node, picture, expected in [
        ("3", JPEG, "PromptPreviewed"),
        ("3", PNG, "PictureSent"),
        ("2", JPEG, "PictureSent"),
    ]:
        assert kinds(run, named(picture, node_id=node)) == [expected]


def test_the_metadata_names_the_node_also_while_another_one_runs() -> None:
    run = a_run()
    run.receive(message("executing", node="1"))
    (sent,) = run.receive(named(PNG, node_id="2.0.0.1", display_node_id="2"))
    assert isinstance(sent, PictureSent)
    assert (sent.node, sent.node_type) == ("2", "SaveImageWebsocket")


@pytest.mark.parametrize(
    "before",
    [
        [],
        [message("executing", node="2"), message("executing", node=None)],
        [message("executing", node="2"), message("execution_success")],
        [message("executing", node="2"), message("executing", node="1", prompt_id="another")],
    ],
    ids=["not started", "ended", "succeeded", "another prompt"],
)
def test_a_picture_without_a_name_belongs_to_nobody_if_no_node_of_the_prompt_runs(
    before: list[str],
) -> None:
    run = a_run()
    for frame in before:
        run.receive(frame)
    assert kinds(run, plain(PNG)) == []


def test_pictures_that_come_after_the_history_are_results_too() -> None:
    run = a_run()
    run.receive(message("executing", node="2"))
    run.receive_history({"status": {"status_str": "success", "messages": []}})
    assert kinds(run, plain(PNG)) == ["PictureSent"]
    assert run.pending_end == {PROMPT_ID}
    assert run.receive(message("execution_success")) == []
    assert run.pending_end == set()


def test_an_error_of_a_blocked_branch_is_not_the_end_of_the_pictures() -> None:
    run = a_run()
    run.receive(message("executing", node="2"))
    run.receive(message("execution_error", exception_type="ExecutionBlocked"))
    assert kinds(run, plain(PNG)) == ["PictureSent"]


def test_comfyuis_own_sender_is_known() -> None:
    assert "SaveImageWebsocket" in KNOWN_SENDERS
    assert a_run().sender == "2"
    assert PromptRun(PROMPT_ID, {"1": GRAPH["1"]}).sender is None


# --- texts ----------------------------------------------------------------------------------------


def test_a_text_about_progress_is_a_sign_of_life_while_the_prompt_runs() -> None:
    frame = struct.pack(">II", 3, 1) + b"2" + b"42 %"
    run = a_run()
    assert (run.receive(frame), run.frames) == ([], 0)
    run.receive(message("executing", node="2"))
    heard = run.frames
    assert (run.receive(frame), run.frames) == ([], heard + 1)


# --- frames of any shape --------------------------------------------------------------------------


FRAMES = st.one_of(
    st.binary(max_size=64),
    st.builds(
        lambda event, number, rest: struct.pack(">II", event, number) + rest,
        st.integers(0, 5),
        st.integers(0, 64) | st.integers(0, 2**32 - 1),
        st.binary(max_size=64) | st.sampled_from([PNG, JPEG, WEBP, b'{"prompt_id": 1}x']),
    ),
)


@given(st.lists(FRAMES, max_size=6), st.sampled_from(["1", "2", "3", "4", "5", None]))
def test_no_frame_raises_whatever_runs(frames: list[bytes], node: str | None) -> None:
    run = a_run()
    run.receive(message("executing", node=node))
    for frame in frames:
        run.receive(frame)
        assert isinstance(read_frame(frame), PictureFrame | TextFrame | None)


@given(st.data())
def test_no_cut_frame_raises(data: st.DataObject) -> None:
    run = a_run()
    run.receive(message("executing", node="2"))
    whole = data.draw(st.sampled_from([plain(PNG), named(PNG), named(WEBP, node_id="2")]))
    run.receive(whole[: data.draw(st.integers(0, len(whole)))])


@pytest.mark.parametrize("value", [None, 7, True, ["2"], {"a": 1}, "x" * 10_000, ""])
@pytest.mark.parametrize("field", ["prompt_id", "node_id", "display_node_id", "image_type"])
def test_metadata_of_any_type_does_not_raise(field: str, value: Any) -> None:
    run = a_run()
    run.receive(message("executing", node="2"))
    run.receive(named(PNG, **{field: value}))


@pytest.mark.parametrize("value", [None, 7, True, ["2"], {"a": 1}, "x" * 10_000])
@pytest.mark.parametrize("field", ["prompt_id", "node", "display_node"])
@pytest.mark.parametrize("kind", ["executing", "executed", "progress", "execution_error"])
def test_ids_of_any_type_do_not_raise(kind: str, field: str, value: Any) -> None:
    run = a_run()
    run.receive(json.dumps({"type": kind, "data": {"prompt_id": PROMPT_ID, field: value}}))


def test_huge_metadata_is_not_read() -> None:
    assert read_frame(named(PNG, note="x" * MAX_METADATA_BYTES)) is None


# --- limits ---------------------------------------------------------------------------------------


def sent(node: str, picture: bytes = PNG) -> PictureSent:
    return PictureSent(node, "SaveImageWebsocket", "image/png", picture)


def test_pictures_are_numbered_for_each_node() -> None:
    pictures = SentPictures()
    for node in ["2", "5", "2", "2"]:
        pictures.add(sent(node))
    assert [(each.node, each.number) for each in pictures.kept] == [
        ("2", 1),
        ("5", 1),
        ("2", 2),
        ("2", 3),
    ]


@pytest.mark.parametrize("limits", [PictureLimits(count=2), PictureLimits(size=len(PNG) * 2)])
def test_what_is_beyond_the_limits_is_counted_and_left_out(limits: PictureLimits) -> None:
    pictures = SentPictures(limits)
    for _ in range(5):
        pictures.add(sent("2"))
    assert (len(pictures.kept), pictures.left_out, pictures.are_lost) == (2, 3, False)


class FullDisk(Spool):
    def append(self, content: bytes) -> Span:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_loses_the_pictures_and_raises_nothing() -> None:
    pictures = SentPictures(spool=FullDisk())
    pictures.add(sent("2"))
    assert (bool(pictures), pictures.kept, pictures.are_lost) == (True, [], True)
