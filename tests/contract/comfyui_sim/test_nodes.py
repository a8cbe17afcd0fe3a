"""What the node classes report and write. The packs' classes do it as the packs' own code does."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from comfyui_sim.options import Options
from comfyui_sim.server import Simulator
from tests.contract.comfyui_sim.client import Client
from tests.contract.comfyui_sim.graphs import LINK, ending_in


def written(base: Path, folder: str = "output") -> list[str]:
    root = base / folder
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


async def run(client: Client, graph: dict[str, Any], **fields: Any) -> dict[str, Any]:
    entry = await client.result(await client.submit(graph, **fields))
    assert entry["status"]["status_str"] == "success", entry["status"]["messages"][-1]
    return entry["outputs"]


def a_file(name: str, subfolder: str = "", kind: str = "output") -> dict[str, str]:
    return {"filename": name, "subfolder": subfolder, "type": kind}


AUDIO = {"class_type": "EmptyAudio", "inputs": {"duration": 1, "sample_rate": 8000, "channels": 1}}
LATENT = {
    "class_type": "EmptyLatentImage",
    "inputs": {"width": 64, "height": 64, "batch_size": 16},
}
REPORTS: dict[str, tuple[dict[str, Any], dict[str, Any] | None, list[str]]] = {
    "plain text": (
        ending_in("easy imageSize", image=LINK),
        {"text": list("Width: 16 , Height: 8")},
        [],
    ),
    "tags": (ending_in("WD14Tagger|pysssss", image=LINK), {"tags": ["1girl, solo"]}, []),
    "value": (ending_in("MathExpression|pysssss", expression="42"), {"value": [42.0]}, []),
    "number as text": (ending_in("Display Int (rgthree)", input=7), {"text": [7]}, []),
    "name and folder": (
        ending_in("PreViewVideo", filename_prefix="video/part"),
        {"video": ["part_00001.mp4", "video"]},
        ["video/part_00001.mp4"],
    ),
    "nested": (
        ending_in("CaseNestedLists", image_a=LINK, image_b=LINK),
        {
            "pairs": [
                {
                    "files": [[a_file("compare_00001_.png")], [a_file("compare_00002_.png")]],
                    "ratio": 0.5,
                }
            ]
        },
        ["compare_00001_.png", "compare_00002_.png"],
    ),
    "makes only its own folder": (
        ending_in(
            "Image Save",
            images=LINK,
            output_path="cards",
            filename_prefix="a",
            show_previews="true",
        ),
        {"images": [a_file("a_0001.png", "cards")]},
        ["cards/a_0001.png"],
    ),
    "swallows its error": (
        ending_in(
            "Image Save",
            images=LINK,
            output_path="cards",
            filename_prefix="new/a",
            show_previews="true",
        ),
        {"images": []},
        [],
    ),
    "shows no previews": (
        ending_in(
            "Image Save", images=LINK, output_path="", filename_prefix="a", show_previews="false"
        ),
        None,
        ["a_0001.png"],
    ),
    "own path": (
        ending_in("Image Saver", images=LINK, filename="a", path="mine/here"),
        {"images": [a_file("a.png", "mine/here")]},
        ["mine/here/a.png"],
    ),
    "unreported": (
        ending_in("Hy3DExportMesh", filename_prefix="3D/Hy3D"),
        None,
        ["3D/Hy3D_00001_.glb"],
    ),
    "fixed name": (
        ending_in("CaseFixedName", name="fixed.txt", text="a", reported=False),
        None,
        ["fixed.txt"],
    ),
    "link": (
        ending_in("CaseLink", name="a.png", target="/etc/hostname"),
        {"images": [a_file("a.png")]},
        ["a.png"],
    ),
    "audio": (
        {
            "1": AUDIO,
            "2": {"class_type": "SaveAudio", "inputs": {"audio": LINK, "filename_prefix": "a/b"}},
        },
        {"audio": [a_file("b_00001.flac", "a")]},
        ["a/b_00001.flac"],
    ),
    "latent": (
        {
            "1": LATENT,
            "2": {"class_type": "SaveLatent", "inputs": {"samples": LINK, "filename_prefix": "a"}},
        },
        {"latents": [a_file("a_00001_.latent")]},
        ["a_00001_.latent"],
    ),
    "animation": (
        ending_in(
            "SaveAnimatedWEBP",
            images=["3", 0],
            filename_prefix="a",
            fps=6,
            lossless=False,
            quality=80,
            method="default",
        )
        | {"3": {"class_type": "RepeatImageBatch", "inputs": {"image": LINK, "amount": 2}}},
        {"images": [a_file("a_00001_.webp")], "animated": [True]},
        ["a_00001_.webp"],
    ),
    "linked prefix": (
        ending_in("SaveImage", images=LINK, filename_prefix=["3", 0])
        | {"3": {"class_type": "PrimitiveString", "inputs": {"value": "cards/linked"}}},
        {"images": [a_file("linked_00001_.png", "cards")]},
        ["cards/linked_00001_.png"],
    ),
}


@pytest.mark.parametrize("case", REPORTS)
async def test_a_class_reports_and_writes_this(client: Client, tmp_path: Path, case: str) -> None:
    graph, ui, files = REPORTS[case]
    outputs = await run(client, graph)
    assert outputs.get("2") == ui
    assert written(tmp_path) == files
    assert written(tmp_path, "temp") == []


async def test_a_preview_is_written_to_the_temp_folder(client: Client, tmp_path: Path) -> None:
    outputs = await run(client, ending_in("PreviewImage", images=LINK))
    (entry,) = outputs["2"]["images"]
    assert entry["type"] == "temp"
    assert written(tmp_path, "temp") == [entry["filename"]]


async def test_a_picture_over_the_websocket_is_a_preview_in_png(client: Client) -> None:
    await client.listen()
    outputs = await run(client, ending_in("SaveImageWebsocket", images=LINK))
    frame = await client.until("binary")
    assert struct.unpack(">II", frame[:8]) == (1, 2)
    assert frame[8:12] == b"\x89PNG"
    assert outputs == {}


async def test_the_same_picture_names_its_node_where_the_client_reads_metadata(
    client: Client,
) -> None:
    await client.listen(handshake=True)
    await client.until("feature_flags")
    await run(client, ending_in("SaveImageWebsocket", images=LINK))
    frame = await client.until("binary")
    event, length = struct.unpack(">II", frame[:8])
    about = json.loads(frame[8 : 8 + length])
    assert (event, about["node_id"], about["image_type"]) == (4, "2", "image/png")


@pytest.mark.parametrize(("form", "number"), [("PNG", 2), ("JPEG", 1)])
async def test_some_classes_send_pictures_without_a_node_to_every_client(
    client: Client, form: str, number: int
) -> None:
    await client.listen(handshake=True)
    await client.until("feature_flags")
    outputs = await run(client, ending_in("ETN_SendImageWebSocket", images=LINK, format=form))
    frame = await client.until("binary")
    assert struct.unpack(">II", frame[:8]) == (1, number)
    entry = {"source": "websocket", "content-type": f"image/{form.lower()}", "type": "output"}
    assert outputs["2"] == {"images": [entry]}


async def test_a_text_about_the_progress_names_its_node(client: Client) -> None:
    await client.listen()
    await run(client, ending_in("CaseProgressText", text="at", times=1, seconds=0))
    frame = await client.until("binary")
    event, length = struct.unpack(">II", frame[:8])
    assert (event, frame[8 : 8 + length], frame[8 + length :]) == (3, b"2", b"at 0")


async def test_a_batch_manager_queues_the_rest_ahead_of_all_others(
    client: Client, tmp_path: Path
) -> None:
    frames = {"class_type": "RepeatImageBatch", "inputs": {"image": LINK, "amount": 5}}
    combine = {
        "images": ["3", 0],
        "frame_rate": 8,
        "filename_prefix": "v",
        "save_output": True,
        "meta_batch": ["4", 0],
    }
    graph = ending_in("VHS_VideoCombine", **combine) | {
        "3": frames,
        "4": {"class_type": "VHS_BatchManager", "inputs": {"frames_per_batch": 2}},
    }
    await client.faults(stall=True)
    first = await client.submit(graph)
    behind = await client.submit(ending_in("PreviewImage", images=LINK))
    await client.faults(stall=False)
    await client.result(behind)
    history = await client.get("/history")
    assert list(history)[0::3] == [first, behind]
    rounds = [history[prompt_id] for prompt_id in list(history)[:3]]
    assert [entry["prompt"][0] for entry in rounds] == [0, -2, -3]
    assert [entry["outputs"]["2"] for entry in rounds[:2]] == [{"unfinished_batch": [True]}] * 2
    (video,) = rounds[2]["outputs"]["2"]["gifs"]
    assert video["filename"] == "v_00001.mp4"
    assert written(tmp_path) == ["v_00001.mp4", "v_00001.png"]


async def test_files_that_nodes_have_open_are_closed_at_the_end(tmp_path: Path) -> None:
    async with Simulator(Options(data_dir=tmp_path, port=0)) as simulator:
        file = (tmp_path / "half_a_video").open("wb")
        simulator.engine.state.memory("1", "VHS_VideoCombine")["file"] = file
    assert file.closed


async def test_a_full_disk_fails_the_node_and_leaves_a_part_of_the_file(
    client: Client, tmp_path: Path
) -> None:
    await client.faults(disk_bytes=2**20 + 5)
    graph = ending_in("CaseFillDisk", mebibytes=3, filename_prefix="a")
    entry = await client.result(await client.submit(graph))
    details = entry["status"]["messages"][-1][1]
    assert details["exception_type"] == "OSError"
    assert details["exception_message"].startswith("[Errno 28] No space left on device: ")
    sizes = [(tmp_path / "output" / name).stat().st_size for name in written(tmp_path)]
    assert sizes == [2**20, 5]


async def test_a_prompt_chooses_what_a_class_raises(client: Client) -> None:
    kind, message = "torch.AcceleratorError", "CUDA error: device-side assert triggered"
    graph = ending_in("CaseRaise", kind=kind, message=message)
    details = (await client.result(await client.submit(graph)))["status"]["messages"][-1][1]
    assert (details["exception_type"], details["exception_message"]) == (kind, f"{message}\n")


async def test_the_editors_workflow_reaches_a_class_that_reads_it(client: Client) -> None:
    graph = ending_in("CaseNeedsExtraPnginfo")
    extra = {"extra_pnginfo": {"workflow": {"nodes": [1, 2, 3]}}}
    failed = await client.result(await client.submit(graph))
    assert failed["status"]["messages"][-1][1]["exception_type"] == "TypeError"
    assert (await run(client, graph, extra_data=extra))["2"] == {"text": ["3"]}


async def test_files_of_other_folders_are_loaded_by_their_annotated_names(
    client: Client, tmp_path: Path
) -> None:
    await run(client, ending_in("SaveImage", images=LINK, filename_prefix="cards/a"))
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "cards/a_00001_.png [output]"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": LINK, "filename_prefix": "b"}},
    }
    await run(client, graph)
    assert written(tmp_path) == ["b_00001_.png", "cards/a_00001_.png"]


async def test_object_info_tells_outputs_modules_and_uploads(client: Client) -> None:
    info = await client.get("/object_info")
    facts = {name: (info[name]["output_node"], info[name]["python_module"]) for name in info}
    assert facts["SaveImage"] == (True, "nodes")
    assert facts["EmptyImage"] == (False, "nodes")
    assert facts["SaveAudio"] == (True, "comfy_extras.nodes_audio")
    assert facts["SaveImageWebsocket"] == (True, "custom_nodes.websocket_image_save")
    assert info["ImageInvert"]["input"]["required"] == {"image": ["IMAGE"]}
    assert info["SaveAudio"]["input"]["required"]["audio"] == ["AUDIO", {}]
    uploads = {
        (name, key, flag)
        for name in info
        for key, spec in info[name]["input"]["required"].items()
        for flag in (spec[1] if spec[1:] else {})
        if flag.endswith("_upload")
    }
    assert uploads == {
        ("LoadImage", "image", "image_upload"),
        ("LoadImageMask", "image", "image_upload"),
        ("LoadAudio", "audio", "audio_upload"),
        ("LoadVideo", "file", "video_upload"),
        ("Load3D", "model_file", "file_upload"),
    }
