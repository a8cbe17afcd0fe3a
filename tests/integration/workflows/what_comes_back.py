"""For each body of `bodies/`, what the service answers and what comes back from the engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BODIES = Path(__file__).parent / "bodies"


@dataclass(frozen=True, slots=True, kw_only=True)
class Back:
    """How a job ends, and what its owner then sees. Patterns of file names are those of fnmatch."""

    status: str = "succeeded"
    files: Mapping[str, str] = field(default_factory=dict)  # pattern of the name -> kind
    count: int | None = None  # of files, if not one for each pattern
    texts: tuple[str, ...] = ()
    temporary: bool = False
    values: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # by node and key
    warns_of: tuple[str | None, ...] = ()  # the node of each warning
    partial: bool = False
    empty: bool = False  # whether the result has a reason for being empty
    error: tuple[str, str | None] | None = None  # its type and its node
    executions: int | None = 1  # how often the engine runs a prompt for it; None: not told


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The status of the answer, and words of it."""

    status: int
    words: tuple[str, ...]


PNG = {"a_00001_.png": "image"}

EXPECTED: Mapping[str, Back | Refused] = {
    # What is accepted.
    "frames_in_batch": Back(files={"a_00001_.latent": "latent"}),
    "large_canvas": Back(files=PNG),
    "nan_beside_inputs": Back(files=PNG),
    "lone_surrogate": Back(files=PNG),
    "comfyui_body": Back(files=PNG),
    "runpod_body": Back(files=PNG),
    "graph_alone": Back(files=PNG),
    "graph_as_text": Back(files=PNG),
    "editor_body": Back(files=PNG),
    "editor_workflow": Back(texts=("2",)),
    # Files, wherever a node writes them.
    "linked_prefix": Back(files={"linked_00001_.png": "image"}),
    "own_folder_only": Back(files={"ComfyUI_0001.png": "image"}),
    "own_path": Back(files={"a.png": "image"}),
    "hidden_previews": Back(files={"a_0001.png": "image"}),
    "unreported_file": Back(files={"Hy3D_00001_.glb": "model"}),
    "checkpoint": Back(files={"mine_00001_.safetensors": "model"}),
    "name_and_folder": Back(files={"part_00001.mp4": "video"}),
    "nested_lists": Back(
        files={"compare_00001_.png": "image", "compare_00002_.png": "image"},
        values={"2": {"pairs": [{"ratio": 0.5}]}},
    ),
    "many_pictures": Back(files={"a_*_.png": "image"}, count=400),
    "nothing_made": Back(empty=True),
    # Kinds of files.
    "sound": Back(
        files={
            "ComfyUI_0000?.flac": "audio",
            "ComfyUI_0000?.mp3": "audio",
            "ComfyUI_0000?.opus": "audio",
        }
    ),
    "animation": Back(files={"a_00001_.webp": "animation"}),
    "video": Back(files={"a_00001_.mp4": "video"}),
    # Pictures that are sent over the socket.
    "socket_pictures": Back(files={"*.png": "image"}),
    "socket_pictures_without_node": Back(
        files={"*.jp*g": "image"},
        count=3,
        # What the node reports of them is no file.
        values={
            "2": {
                "images": [{"source": "websocket", "content-type": "image/jpeg", "type": "output"}]
                * 3
            }
        },
    ),
    # Temporary files.
    "only_previews": Back(files={"ComfyUI_temp_*.png": "image"}, temporary=True),
    "only_temporary_sound": Back(files={"ComfyUI_temp_*.flac": "audio"}, temporary=True),
    "temporary_video": Back(files={"v_00001.mp4": "video", "v_00001.png": "image"}, temporary=True),
    "previews_beside_a_save": Back(files=PNG),
    "preview_and_text": Back(texts=("a text",)),
    # Texts and values.
    "only_text": Back(texts=("zwölf Boxkämpfer 🦊",)),
    "plain_text": Back(texts=("Width: 512 , Height: 512",)),
    "lists": Back(
        files={"a_00001_.png": "image", "a_00002_.png": "image"},
        texts=("Width: 64 , Height: 64" * 2,),
    ),
    "texts_of_one_character": Back(texts=("8", "8", "Width: 8 , Height: 8" * 2)),
    "other_keys": Back(
        texts=("seven",),
        values={
            "1": {"tags": ["1girl, solo"], "value": [42], "text": [7], "string": ["a long answer"]}
        },
    ),
    "embedded_picture": Back(values={"2": {"bg_image": [...]}}),
    "list_of_values": Back(values={"1": {"result": ["3d/a.glb", None, None]}}),
    # Graphs of which not all runs.
    "error_after_a_file": Back(status="failed", error=("node_error", "3"), files=PNG),
    "no_output": Refused(status=422, words=("output",)),
    "broken_branch": Back(files=PNG, warns_of=("3",)),
    "broken_cycle": Back(files=PNG, warns_of=("3", "4")),
    "one_invalid_output": Back(files={"good_00001_.png": "image"}, warns_of=("3",), partial=True),
    "strict_invalid_output": Back(
        status="failed", error=("required_input_missing", "3"), executions=None
    ),
    "editor_export": Refused(status=422, words=("Export (API)",)),
    "other_extra_data": Refused(status=422, words=("api_key_comfy_org",)),
    "needed_cycle": Refused(status=422, words=("cycle",)),
    "undeclared_dangling_link": Refused(status=422, words=("99", "other")),
    # Files that are not there.
    "missing_file": Back(files=PNG, warns_of=("3",)),
    "file_outside": Back(files=PNG, warns_of=("3",)),
    "link_out_of_the_folder": Back(files=PNG, warns_of=("3",)),
    "outside_the_folders": Back(warns_of=("2",), empty=True),
    "another_output_folder": Back(
        status="failed", error=("custom_validation_failed", "1"), executions=0
    ),
    # Prompts that nodes queue.
    "queues_prompts": Back(status="failed", error=("queues_prompts", "1"), executions=None),
    "batch_manager": Back(status="failed", error=("queues_prompts", "4"), executions=None),
    # Faults that may be the machine's.
    "no_space": Back(status="failed", error=("out_of_disk", "1"), executions=2),
}
