"""Every Python example of the documents has correct types, under `mypy --strict`.

The TypeScript client's tests do the same for every example in TypeScript.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from comfyline.contract.v1.operations import OPERATIONS
from comfyline.contract.v1.samples import samples
from tests.support.documents import ROOT, blocks, documents

# Pages whose examples need code that is not here, and what checks them instead.
EXCUSED = {
    "docs/guides/other-languages.md": "tests/e2e/test_generated_clients.py generates the client",
}


def examples() -> Iterator[tuple[str, str]]:
    """A name and the text of each example."""
    for page in documents():
        place = str(page.relative_to(ROOT))
        if place not in EXCUSED:
            for number, text in enumerate(blocks(page, "python"), 1):
                yield f"{place} {number}", text
    for (method, path), operation in OPERATIONS.items():
        for sample in samples(method, path, operation):
            if sample["lang"] == "Python":
                yield f"sample {operation.id}", sample["source"]


def test_every_python_example_has_correct_types(tmp_path: Path) -> None:
    names = {}
    for number, (name, text) in enumerate(examples()):
        names[f"example_{number}.py"] = name
        (tmp_path / f"example_{number}.py").write_text(text)
    assert len(names) >= 15
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", *names],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, f"{checked.stdout}{checked.stderr}\n{names}"
