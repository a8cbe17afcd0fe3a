"""Write the public contract as documents, in docs/api/.

With --release, keep them in docs/api/baseline/ too, as the contract of the released version. Tests
compare the documents with the code and with the baseline.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from comfyline.contract.comfy_v2 import openapi as comfy
from comfyline.contract.v1 import asyncapi, openapi

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "api"
BASELINE = FOLDER / "baseline"
DOCUMENTS: Mapping[str, Callable[[], Any]] = {
    "openapi.json": openapi.document,
    "asyncapi.json": asyncapi.document,
    "comfy.json": comfy.document,
}


def written(name: str) -> str:
    """The document's text, the same each time."""
    return json.dumps(DOCUMENTS[name](), indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--release", action="store_true", help="write the baseline too")
    folders = [FOLDER, BASELINE] if parser.parse_args().release else [FOLDER]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        for name in DOCUMENTS:
            (folder / name).write_text(written(name))
            print(f"wrote {(folder / name).relative_to(ROOT)}")


if __name__ == "__main__":
    main()
