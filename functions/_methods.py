"""Use the methods of dataclasses that were compiled when the asset was built.

For each dataclass, Python writes `__init__`, `__eq__` and the other methods as a text and compiles
it with `exec`. A function starts with some 100 such classes, ours and pydantic's, and compiling
them takes an eighth of the CPU time of the start. The build of the asset imports all modules once
and keeps each text with its bytecode in FILE (`infra/compiled_methods.py`). A start looks the texts
up there. A text that FILE lacks, for example under a newer Python, is compiled as usual.
"""

from __future__ import annotations

import dataclasses
import marshal
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from typing import Any

# The version of the bytecode, as in .pyc files, and the marshalled bytecode of each text.
FILE = Path(__file__).with_name("_methods.bin")


def use_compiled_methods(file: Path = FILE) -> None:
    """Let dataclasses take their methods from the file, if it is there and of this Python."""
    content = file.read_bytes() if file.exists() else b""
    if not content.startswith(MAGIC_NUMBER):
        return
    compiled: dict[str, bytes] = marshal.loads(content[len(MAGIC_NUMBER) :])

    def execute(text: str, *scopes: dict[str, Any]) -> None:
        code = compiled.get(text)
        exec(text if code is None else marshal.loads(code), *scopes)  # noqa: S102

    # The module `dataclasses` finds this name before the builtin.
    vars(dataclasses)["exec"] = execute
