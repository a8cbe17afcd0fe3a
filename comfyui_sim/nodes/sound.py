"""Core: sound. The bytes are not sound, but their first ones are those of the format."""

from __future__ import annotations

from comfyui_sim.node_types import (
    PNG_INPUTS,
    Inputs,
    NodeContext,
    NodeResult,
    NodeType,
    Run,
    combo,
    in_thread,
    integer,
    number,
    text,
)
from comfyui_sim.nodes.loading import exists, hash_of, path_of
from comfyui_sim.nodes.saved_images import TEMP_PREFIX
from comfyui_sim.nodes.saving import save
from comfyui_sim.nodes.values import Recording

HEADERS = {"flac": b"fLaC", "mp3": b"ID3", "opus": b"OggS"}
MODULE = "comfy_extras.nodes_audio"


def empty_audio(_: NodeContext, inputs: Inputs) -> NodeResult:
    """Silence of a length."""
    facts = (inputs["duration"], inputs["sample_rate"], inputs["channels"])
    return NodeResult((Recording(repr(facts).encode()),))


def load_audio(context: NodeContext, inputs: Inputs) -> NodeResult:
    """The content of a file."""
    return NodeResult((Recording.read(path_of(context, inputs["audio"])),))


def _saving(form: str) -> Run:
    def save_audio(context: NodeContext, inputs: Inputs) -> NodeResult:
        body = HEADERS[form] + inputs["audio"].body
        entries = save(context, inputs["filename_prefix"], f".{form}", body)
        return NodeResult((inputs["audio"],), {"audio": entries})

    return in_thread(save_audio)


def preview_audio(context: NodeContext, inputs: Inputs) -> NodeResult:
    """Write the sound to the temp folder."""
    body = HEADERS["flac"] + inputs["audio"].body
    entries = save(context, TEMP_PREFIX, ".flac", body, kind="temp")
    return NodeResult((inputs["audio"],), {"audio": entries})


def _saver(name: str, title: str, form: str, *qualities: str) -> NodeType:
    quality = {"quality": combo(*qualities)} if qualities else {}
    return NodeType(
        name,
        title,
        "audio",
        _saving(form),
        {"audio": ["AUDIO", {}], "filename_prefix": text("audio/ComfyUI"), **quality},
        outputs=("AUDIO",),
        output_node=True,
        hidden=PNG_INPUTS,
        python_module=MODULE,
    )


CLASSES = (
    NodeType(
        "EmptyAudio",
        "Empty Audio",
        "audio",
        in_thread(empty_audio),
        {
            "duration": number(60.0, 0.0, 2.0**64, 0.01),
            "sample_rate": integer(44100, 1, 192000),
            "channels": integer(2, 1, 2),
        },
        outputs=("AUDIO",),
        python_module=MODULE,
    ),
    NodeType(
        "LoadAudio",
        "Load Audio",
        "audio",
        in_thread(load_audio),
        {"audio": combo(audio_upload=True)},
        outputs=("AUDIO",),
        check=exists("audio", "Invalid audio file"),
        content=hash_of("audio"),
        python_module=MODULE,
    ),
    _saver("SaveAudio", "Save Audio (FLAC)", "flac"),
    _saver("SaveAudioMP3", "Save Audio (MP3)", "mp3", "V0", "128k", "320k"),
    _saver("SaveAudioOpus", "Save Audio (Opus)", "opus", "64k", "96k", "128k", "192k", "320k"),
    NodeType(
        "PreviewAudio",
        "Preview Audio",
        "audio",
        in_thread(preview_audio),
        {"audio": ["AUDIO", {}]},
        outputs=("AUDIO",),
        output_node=True,
        hidden=PNG_INPUTS,
        python_module=MODULE,
    ),
)
