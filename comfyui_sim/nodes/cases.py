"""Classes of the simulator's own, each of which does one thing that some pack does."""

from __future__ import annotations

import hashlib
import time
from typing import Any

from comfyui_sim import files
from comfyui_sim.faults import NodeFailure
from comfyui_sim.node_types import (
    Inputs,
    NodeContext,
    NodeResult,
    NodeType,
    Run,
    Spec,
    in_thread,
    integer,
    never_the_same,
    number,
    text,
)
from comfyui_sim.nodes.saving import save

MIB = 2**20


def plain_text(_: NodeContext, inputs: Inputs) -> NodeResult:
    """Report a plain text, which ComfyUI splits into its characters."""
    return NodeResult(ui={"text": inputs["text"]})


def other_keys(_: NodeContext, __: Inputs) -> NodeResult:
    """Report values under several keys, some of them numbers."""
    ui = {"tags": ["1girl, solo"], "value": [42], "text": [7, "seven"], "string": ["a long answer"]}
    return NodeResult(ui=ui)


def unreported_file(context: NodeContext, inputs: Inputs) -> NodeResult:
    """Write a file and report nothing."""
    (entry,) = save(context, inputs["filename_prefix"], "_.glb", b"glTF")
    return NodeResult((entry["filename"],))


def requeue(context: NodeContext, inputs: Inputs) -> NodeResult:
    """Queue the graph again until the last round, which writes a file."""
    rounds, node_id = inputs["rounds"], inputs["unique_id"]
    if rounds > 1:
        node = context.prompt[node_id]
        fewer = {**node, "inputs": {**node["inputs"], "rounds": rounds - 1}}
        context.queue_again({**context.prompt, node_id: fewer})
        return NodeResult(ui={"unfinished_batch": [True]})
    entries = save(context, inputs["filename_prefix"], ".mp4", b"all of it")
    return NodeResult(ui={"gifs": entries})


def fail(_: NodeContext, inputs: Inputs) -> NodeResult:
    """Raise an exception of a type and with a message that the prompt names."""
    raise NodeFailure(inputs["message"], type_name=inputs["kind"])


def fill_disk(context: NodeContext, inputs: Inputs) -> NodeResult:
    """Write files of 1 MiB until there are enough or the disk is full."""
    for _ in range(inputs["mebibytes"]):
        save(context, inputs["filename_prefix"], ".bin", bytes(MIB))
    return NodeResult(ui={"text": ["written"]})


async def sleep(context: NodeContext, inputs: Inputs) -> NodeResult:
    """Send nothing for some seconds."""
    await context.sleep(inputs["seconds"])
    return NodeResult(ui={"text": ["awake"]})


def compute(_: NodeContext, inputs: Inputs) -> NodeResult:
    """Send nothing for some seconds, and use a processor meanwhile."""
    until = time.monotonic() + inputs["seconds"]
    block, digest = bytes(MIB), hashlib.sha256()
    while time.monotonic() < until:
        digest.update(block)  # without the lock of the interpreter, so that polls are answered
    return NodeResult(ui={"text": ["computed"]})


async def talk(context: NodeContext, inputs: Inputs) -> NodeResult:
    """Send nothing but texts about the progress."""
    for index in range(inputs["times"]):
        context.send_text(f"{inputs['text']} {index}")
        await context.sleep(inputs["seconds"])
    return NodeResult(ui={"text": ["said"]})


def needs_pnginfo(_: NodeContext, inputs: Inputs) -> NodeResult:
    """Read the editor's workflow, and fail without it as Python does."""
    return NodeResult(ui={"text": [str(len(inputs["extra_pnginfo"]["workflow"]["nodes"]))]})


def many_files(context: NodeContext, inputs: Inputs) -> NodeResult:
    """Write many files with different bytes."""
    bodies = (str(index).encode() for index in range(inputs["count"]))
    return NodeResult(ui={"files": save(context, inputs["filename_prefix"], ".txt", *bodies)})


def fixed_name(context: NodeContext, inputs: Inputs) -> NodeResult:
    """Write a file under the name that the prompt gives, and replace an existing file."""
    context.write(context.folders.base / "output" / inputs["name"], inputs["text"].encode())
    entry = {"filename": inputs["name"], "subfolder": "", "type": "output"}
    return NodeResult(ui={"files": [entry]} if inputs["reported"] else {})


def save_dataset(context: NodeContext, inputs: Inputs) -> NodeResult:
    """Write a file as SaveTrainingDataset does: under a fixed name, and not reported."""
    folder = context.folders.base / "datasets" / inputs["folder_name"]
    folder.mkdir(parents=True, exist_ok=True)
    context.write(folder / "shard_0000.pkl", inputs["text"].encode())
    return NodeResult()


def load_from_folder(context: NodeContext, inputs: Inputs) -> NodeResult:
    """Return the texts of all files below a folder of ComfyUI."""
    root = context.folders.base / inputs["folder"]
    return NodeResult(("".join(sorted(path.read_text() for path in root.rglob("*.*"))),))


def link(context: NodeContext, inputs: Inputs) -> NodeResult:
    """Make a symbolic link in the output folder, and report it as a file."""
    path = context.folders.base / "output" / inputs["name"]
    path.unlink(missing_ok=True)
    path.symlink_to(inputs["target"])
    return NodeResult(
        ui={"images": [{"filename": inputs["name"], "subfolder": "", "type": "output"}]}
    )


def report(_: NodeContext, inputs: Inputs) -> NodeResult:
    """Report a file that the node does not write."""
    names = ("filename", "subfolder", "type")
    return NodeResult(ui={"images": [{name: inputs[name] for name in names}]})


def list_folder(context: NodeContext, inputs: Inputs) -> NodeResult:
    """Report the paths of all files below a folder of ComfyUI."""
    root = context.folders.base / inputs["folder"]
    found = sorted(str(path) for path in root.rglob("*") if not path.is_dir())
    return NodeResult(ui={"text": ["\n".join(found)]})


def read_file(context: NodeContext, inputs: Inputs) -> NodeResult:
    """Report the text of a file that the prompt names as LoadImage does, `[output]` included."""
    path = files.input_file(context.folders, inputs["name"])
    return NodeResult(ui={"text": ["no such file" if path is None else path.read_text()]})


def _case(name: str, run: Run, required: dict[str, Spec], **more: Any) -> NodeType:
    facts = {"output_node": True, "python_module": "custom_nodes.cases", **more}
    return NodeType(name, name, "cases", run, required, **facts)


_PREFIX = text("ComfyUI")

CLASSES = (
    _case("CasePlainText", in_thread(plain_text), {"text": text("hello")}),
    _case("CaseOtherKeys", in_thread(other_keys), {}),
    _case(
        "CaseUnreportedFile",
        in_thread(unreported_file),
        {"filename_prefix": text("3D/Hy3D")},
        outputs=("STRING",),
    ),
    _case(
        "CaseRequeue",
        in_thread(requeue),
        {"rounds": integer(3, 0, 2**31), "filename_prefix": text("part")},
        hidden={"unique_id": "UNIQUE_ID"},
        content=never_the_same,
    ),
    _case(
        "CaseRaise",
        in_thread(fail),
        {"kind": text("OSError"), "message": text("x")},
        content=never_the_same,
    ),
    _case(
        "CaseFillDisk",
        in_thread(fill_disk),
        {"mebibytes": integer(8, 0, 2**31), "filename_prefix": _PREFIX},
        content=never_the_same,
    ),
    _case("CaseCompute", in_thread(compute), {"seconds": number(1, 0, 100_000, 0.01)}),
    _case("CaseSleep", sleep, {"seconds": number(1, 0, 100_000, 0.01)}),
    _case(
        "CaseProgressText",
        talk,
        {
            "text": text("step"),
            "times": integer(3, 0, 100_000),
            "seconds": number(0.1, 0, 100_000, 0.01),
        },
    ),
    _case(
        "CaseNeedsExtraPnginfo",
        in_thread(needs_pnginfo),
        {},
        hidden={"extra_pnginfo": "EXTRA_PNGINFO"},
    ),
    _case(
        "CaseManyFiles",
        in_thread(many_files),
        {"count": integer(10_000, 0, 2**31), "filename_prefix": _PREFIX},
    ),
    _case(
        "CaseFixedName",
        in_thread(fixed_name),
        {"name": text("fixed.txt"), "text": text(), "reported": ["BOOLEAN", {"default": True}]},
    ),
    _case("CaseSaveDataset", in_thread(save_dataset), {"folder_name": text(), "text": text()}),
    _case(
        "CaseLoadFromFolder",
        in_thread(load_from_folder),
        {"folder": text()},
        outputs=("STRING",),
        output_node=False,
    ),
    _case("CaseLink", in_thread(link), {"name": text(), "target": text()}),
    _case(
        "CaseReport",
        in_thread(report),
        {"filename": text(), "subfolder": text(), "type": text("output")},
    ),
    _case("CaseListFolder", in_thread(list_folder), {"folder": text()}, content=never_the_same),
    _case("CaseReadFile", in_thread(read_file), {"name": text()}, content=never_the_same),
)
