"""The media types and kinds of files, by the suffix of the name.

The table is ours, because the tables of Python and of the machine differ: a minimal container knows
neither FLAC nor glTF. A type that is not registered with IANA is the one in common use.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

_UNKNOWN = ("file", "application/octet-stream")  # kind and type of any other suffix


class _Type(NamedTuple):
    """One media type. `suffixes` and `aliases` are separated by blanks."""

    name: str
    suffixes: str  # the first is given to a file of the type that has no name
    aliases: str = ""  # other names that programs send for the type


_TYPES: Mapping[str, tuple[_Type, ...]] = {
    "image": (
        _Type("image/png", "png", "image/x-png"),
        _Type("image/jpeg", "jpg jpeg jpe jfif", "image/jpg image/pjpeg"),
        _Type("image/webp", "webp"),
        _Type("image/avif", "avif"),
        _Type("image/jxl", "jxl", "image/x-jxl"),
        _Type("image/heic", "heic"),
        _Type("image/heif", "heif"),
        _Type("image/bmp", "bmp dib", "image/x-ms-bmp image/x-bmp"),
        _Type("image/tiff", "tif tiff"),
        _Type("image/svg+xml", "svg"),
        _Type("image/x-exr", "exr", "image/exr image/aces"),
        _Type("image/vnd.radiance", "hdr", "image/x-hdr"),
        _Type("image/vnd.adobe.photoshop", "psd", "image/x-psd application/x-photoshop"),
        _Type("image/x-tga", "tga", "image/tga image/x-targa"),
        _Type("image/vnd-ms.dds", "dds", "image/x-dds"),
        _Type("image/x-icon", "ico", "image/vnd.microsoft.icon"),
        _Type("image/jp2", "jp2"),
        _Type("image/x-portable-pixmap", "ppm"),
        _Type("image/x-portable-graymap", "pgm"),
        _Type("image/x-portable-floatmap", "pfm"),
    ),
    "animation": (
        _Type("image/gif", "gif"),
        _Type("image/apng", "apng", "image/vnd.mozilla.apng"),
    ),
    "video": (
        _Type("video/mp4", "mp4"),
        _Type("video/x-m4v", "m4v"),
        _Type("video/webm", "webm"),
        _Type("video/x-matroska", "mkv", "video/matroska"),
        _Type("video/quicktime", "mov qt"),
        _Type("video/x-msvideo", "avi", "video/avi video/vnd.avi video/msvideo"),
        _Type("video/mpeg", "mpg mpeg"),
        _Type("video/ogg", "ogv"),
        _Type("video/3gpp", "3gp"),
        _Type("video/mp2t", "m2ts mts"),
        _Type("video/x-ms-wmv", "wmv"),
        _Type("video/x-flv", "flv"),
    ),
    "audio": (
        _Type("audio/wav", "wav", "audio/x-wav audio/wave audio/vnd.wave"),
        _Type("audio/mpeg", "mp3", "audio/mp3 audio/x-mp3 audio/x-mpeg"),
        _Type("audio/flac", "flac", "audio/x-flac"),
        _Type("audio/ogg", "ogg oga", "application/ogg audio/vorbis"),
        _Type("audio/opus", "opus"),
        _Type("audio/mp4", "m4a m4b", "audio/x-m4a audio/m4a"),
        _Type("audio/aac", "aac", "audio/x-aac audio/aacp"),
        _Type("audio/webm", "weba"),
        _Type("audio/aiff", "aiff aif", "audio/x-aiff"),
        _Type("audio/x-matroska", "mka", "audio/matroska"),
        _Type("audio/x-ms-wma", "wma"),
        _Type("audio/midi", "mid midi", "audio/x-midi"),
    ),
    "model": (
        _Type("model/gltf-binary", "glb"),
        _Type("model/gltf+json", "gltf"),
        _Type("model/obj", "obj"),
        _Type("model/mtl", "mtl"),
        _Type("model/stl", "stl", "application/sla model/x.stl-binary model/x.stl-ascii"),
        _Type("model/ply", "ply", "application/x-ply"),
        _Type("model/x-fbx", "fbx", "model/fbx application/x-fbx application/vnd.autodesk.fbx"),
        _Type("model/vnd.usdz+zip", "usdz", "model/usd"),
        _Type("model/vnd.usda", "usda usd"),
        _Type("model/vnd.usdc", "usdc"),
        _Type("model/vnd.collada+xml", "dae"),
        _Type("model/3mf", "3mf", "application/vnd.ms-package.3dmanufacturing-3dmodel+xml"),
        _Type("model/x-splat", "splat"),
        _Type("model/x-ksplat", "ksplat"),
        _Type("model/x-spz", "spz"),
        _Type("application/x-blender", "blend"),
        _Type("application/x-safetensors", "safetensors sft", "application/vnd.safetensors"),
        _Type("application/x-pytorch", "pt pth ckpt"),
        _Type("application/x-gguf", "gguf"),
        _Type("application/x-onnx", "onnx", "application/onnx"),
    ),
    "latent": (_Type("application/x-comfyui-latent", "latent"),),
    "array": (
        _Type("application/x-npy", "npy"),
        _Type("application/x-npz", "npz"),
        _Type("application/x-hdf5", "h5 hdf5"),
    ),
    "text": (
        _Type("text/plain", "txt text log"),
        _Type("application/json", "json", "text/json"),
        _Type("application/jsonl", "jsonl ndjson", "application/x-ndjson"),
        _Type("text/csv", "csv"),
        _Type("text/tab-separated-values", "tsv"),
        _Type("text/markdown", "md markdown"),
        _Type("application/x-subrip", "srt", "text/srt"),
        _Type("text/vtt", "vtt"),
        _Type("text/x-ssa", "ass ssa"),
        _Type("text/html", "html htm"),
        _Type("application/xml", "xml", "text/xml"),
        _Type("application/yaml", "yaml yml", "text/yaml application/x-yaml"),
        _Type("application/toml", "toml"),
    ),
    "document": (_Type("application/pdf", "pdf"),),
    "archive": (
        _Type("application/zip", "zip", "application/x-zip-compressed"),
        _Type("application/x-tar", "tar"),
        _Type("application/gzip", "gz tgz", "application/x-gzip"),
        _Type("application/x-7z-compressed", "7z"),
        _Type("application/vnd.rar", "rar", "application/x-rar-compressed"),
    ),
}

_BY_SUFFIX = {
    suffix: (kind, type_.name)
    for kind, types in _TYPES.items()
    for type_ in types
    for suffix in type_.suffixes.split()
}
_SUFFIX_OF = {
    name: "." + type_.suffixes.split()[0]
    for types in _TYPES.values()
    for type_ in types
    for name in (type_.name, *type_.aliases.split())
}


def media_type_of(name: str) -> str:
    """The media type of a file with this name; octet-stream if its suffix is unknown."""
    return _BY_SUFFIX.get(_suffix(name), _UNKNOWN)[1]


def kind_of(name: str) -> str:
    """What a file with this name is, for example `image` or `audio`; `file` if that is unknown."""
    return _BY_SUFFIX.get(_suffix(name), _UNKNOWN)[0]


def suffix_of(media_type: str) -> str:
    """The suffix, with its dot, of a file of this media type; empty if the type is unknown."""
    essence, _, _parameters = media_type.partition(";")
    return _SUFFIX_OF.get(essence.strip().lower(), "")


def _suffix(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return suffix.lower() if dot and stem else ""
