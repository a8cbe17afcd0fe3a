"""The node classes of an engine, as ComfyUI's `GET /object_info` describes them.

Custom nodes make their own descriptions, so nothing here trusts a shape: a malformed part counts
as unknown. The engine decides about everything that is unknown here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

ANY_KIND = "any"  # of `file_inputs`: files of every kind

_TAKES_NO_FILE = frozenset[str]()
_TAKES_ANY_FILE = frozenset({ANY_KIND})
# ComfyUI's editor shows some inputs with an upload button. These are the kinds of files that nodes
# read from such inputs. A video decoder also reads animations, and an audio decoder videos.
_KINDS_OF_UPLOADS: Mapping[str, frozenset[str]] = {
    "image_upload": frozenset({"image", "animation"}),
    "animated_image_upload": frozenset({"image", "animation", "video"}),
    "audio_upload": frozenset({"audio", "video"}),
    "video_upload": frozenset({"video", "animation"}),
    "file_upload": _TAKES_ANY_FILE,
}
_NUMBERS = frozenset({"INT", "FLOAT", "BOOLEAN"})
_CORE_MODULES = ("comfy_extras.", "comfy_api_nodes.")


@dataclass(frozen=True, slots=True)
class _NodeClass:
    """The known facts about one class. `inputs` has the kinds of files that each input takes.

    No kinds: it takes no file. None: unknown.
    """

    is_output: bool
    is_core: bool
    inputs: Mapping[str, frozenset[str] | None] = field(default_factory=dict)
    paths: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class EngineNodes:
    """The node classes of one engine. Without any, nothing is known of the engine."""

    _classes: Mapping[str, _NodeClass] = field(default_factory=dict)

    @classmethod
    def parse(cls, object_info: Any) -> EngineNodes:
        """The classes that a response of `GET /object_info` describes, of any shape."""
        links = _link_types(object_info)
        found = ((name, _node_class(each, links)) for name, each in _fields(object_info).items())
        return cls({name: each for name, each in found if each is not None})

    @classmethod
    def from_json(cls, compact: Any) -> EngineNodes:
        """The classes that `to_json` has written. Malformed ones are left out."""
        found = ((name, _read(each)) for name, each in _fields(compact).items())
        return cls({name: each for name, each in found if each is not None})

    def to_json(self) -> dict[str, Any]:
        """A JSON value with everything that `from_json` needs. Equal nodes give equal values."""
        return {name: _written(each) for name, each in sorted(self._classes.items())}

    def __bool__(self) -> bool:
        """Whether anything is known."""
        return bool(self._classes)

    def knows(self, class_type: str) -> bool:
        """Whether the engine has the class, and described it well."""
        return class_type in self._classes

    def is_output(self, class_type: str) -> bool:
        """Whether the class is known to be an output node, so that ComfyUI executes it."""
        return self.knows(class_type) and self._classes[class_type].is_output

    def is_core(self, class_type: str) -> bool:
        """Whether the class is known to be part of ComfyUI itself."""
        return self.knows(class_type) and self._classes[class_type].is_core

    def file_inputs(self, class_type: str) -> Mapping[str, frozenset[str]]:
        """The inputs of the class that are known to take a file, and the kinds of it.

        A kind is one of those of `comfyline.contract.media_types`, or ANY_KIND.
        """
        return {name: kinds for name, kinds in self._inputs(class_type).items() if kinds}

    def kinds(self, class_type: str, input_name: str) -> frozenset[str] | None:
        """The kinds of files that the input takes: empty if it takes none, None if unknown."""
        return self._inputs(class_type).get(input_name)

    def declares(self, class_type: str, input_name: str) -> bool:
        """Whether nodes of the class see this input, as far as is known.

        ComfyUI ignores the value of an input that the class does not declare. An input `a.b` is a
        part of input `a`; the value of `a` decides which parts exist.
        """
        if not self.knows(class_type):
            return True
        declared = self._classes[class_type].inputs
        return input_name in declared or input_name.partition(".")[0] in declared

    def takes_path(self, class_type: str, input_name: str) -> bool:
        """Whether the input is a text, which a node may read as a path on its disk.

        Every other input that takes a file wants a name below ComfyUI's input folder.
        """
        return self.knows(class_type) and input_name in self._classes[class_type].paths

    def _inputs(self, class_type: str) -> Mapping[str, frozenset[str] | None]:
        return self._classes[class_type].inputs if self.knows(class_type) else {}


# --- the engine's description ---------------------------------------------------------------------


def _link_types(object_info: Any) -> frozenset[str]:
    """The types that some node has as an output: an input of such a type takes a link."""
    outputs = (_items(_fields(each).get("output")) for each in _fields(object_info).values())
    return frozenset(type_ for output in outputs for type_ in output if isinstance(type_, str))


def _node_class(described: Any, links: frozenset[str]) -> _NodeClass | None:
    node = _fields(described)
    is_output, module = node.get("output_node"), node.get("python_module")
    if not isinstance(is_output, bool):
        return None
    is_core = isinstance(module, str) and (module == "nodes" or module.startswith(_CORE_MODULES))
    inputs = {name: (type_, options) for name, type_, options in _declared(node)}
    kinds = {name: _kinds(type_, options, links) for name, (type_, options) in inputs.items()}
    paths = (name for name, (type_, options) in inputs.items() if _is_path(type_, options))
    return _NodeClass(is_output, is_core, kinds, frozenset(paths))


def _declared(node: Mapping[str, Any]) -> Iterator[tuple[str, Any, Mapping[str, Any]]]:
    """Name, type and options of each input that a caller may set; None and {} if malformed."""
    for section in ("required", "optional"):
        for name, declared in _fields(_fields(node.get("input")).get(section)).items():
            parts = [*_items(declared)[:2], None, None]
            yield name, parts[0], _fields(parts[1])


def _kinds(type_: Any, options: Mapping[str, Any], links: frozenset[str]) -> frozenset[str] | None:
    for upload, kinds in _KINDS_OF_UPLOADS.items():
        if options.get(upload) is True:
            return kinds
    if _is_path(type_, options):
        return _TAKES_ANY_FILE
    if type_ in ("STRING", *_NUMBERS):
        return _TAKES_NO_FILE
    if isinstance(type_, str) and type_ != "COMBO" and links.issuperset(type_.split(",")):
        return _TAKES_NO_FILE
    return None


def _is_path(type_: Any, options: Mapping[str, Any]) -> bool:
    """Whether the input is a text of one line that the editor does not upload for."""
    has_upload = any(options.get(upload) is True for upload in _KINDS_OF_UPLOADS)
    return type_ == "STRING" and options.get("multiline") is not True and not has_upload


# --- the compact form -----------------------------------------------------------------------------


def _written(known: _NodeClass) -> dict[str, Any]:
    inputs = {
        name: None if kinds is None else sorted(kinds)
        for name, kinds in sorted(known.inputs.items())
    }
    whole = {
        "output": known.is_output,
        "core": known.is_core,
        "inputs": inputs,
        "paths": sorted(known.paths),
    }
    return {name: value for name, value in whole.items() if value}


def _read(written: Any) -> _NodeClass | None:
    if not isinstance(written, dict):
        return None
    inputs = {
        name: frozenset(k for k in kinds if isinstance(k, str)) if isinstance(kinds, list) else None
        for name, kinds in _fields(written.get("inputs")).items()
    }
    paths = frozenset(name for name in _items(written.get("paths")) if isinstance(name, str))
    return _NodeClass(written.get("output") is True, written.get("core") is True, inputs, paths)


def _fields(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
