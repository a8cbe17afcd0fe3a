"""Compile the methods of all dataclasses of an asset. `functions/_methods.py` says why.

It runs as a script under the functions' Python and writes the file into the asset. It imports the
modules from the asset, and packages from a folder with those for this machine, because the asset
may have those of another architecture. The methods of a class are the same on all architectures.
"""

from __future__ import annotations

import dataclasses
import marshal
from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.util import MAGIC_NUMBER
from pkgutil import walk_packages
from typing import Any

OURS = ("comfyline", "functions")


def record_methods() -> dict[str, bytes]:
    """Record the methods of each dataclass that is defined from now on, in the returned dict.

    A key is the text that Python writes for a class, and the value is its marshalled bytecode.
    """
    compiled = dict[str, bytes]()

    def execute(text: str, *scopes: dict[str, Any]) -> None:
        code = compile(text, "<string>", "exec")
        compiled[text] = marshal.dumps(code)
        exec(code, *scopes)  # noqa: S102

    # The module `dataclasses` finds this name before the builtin.
    vars(dataclasses)["exec"] = execute
    return compiled


def written(compiled: Mapping[str, bytes]) -> bytes:
    """The content of the file that `functions/_methods.py` reads."""
    return MAGIC_NUMBER + marshal.dumps(dict(compiled))


def _modules() -> Iterator[str]:
    for package in OURS:
        yield package
        for found in walk_packages(import_module(package).__path__, f"{package}."):
            yield found.name


if __name__ == "__main__":
    methods = record_methods()
    for module in _modules():
        import_module(module)
    import_module("functions._methods").FILE.write_bytes(written(methods))
