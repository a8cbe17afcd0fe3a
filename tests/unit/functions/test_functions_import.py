"""Importing a function reads no setting, makes no client and loads few modules."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
MODULES = sorted(f"functions.{path.stem}" for path in (ROOT / "functions").glob("*.py"))

# Libraries may read environment variables when they are imported. The spy reports a read only
# if its nearest caller outside the import system is one of our modules.
SPY = """
import importlib, os, sys
from pathlib import Path

ours = tuple(str(Path(part).resolve()) + os.sep for part in ("functions", "comfyline"))
seen = []

def asked_by_us():
    frame = sys._getframe(2)
    while frame and "importlib" not in frame.f_code.co_filename:
        if frame.f_code.co_filename.startswith(ours):
            return True
        if "site-packages" in frame.f_code.co_filename:
            return False
        frame = frame.f_back
    return False

kept = type(os.environ).__getitem__

HOW_IT_STARTS = "AWS_LAMBDA_INITIALIZATION_TYPE"  # a function asks for it, and may make clients

def spy(self, name):
    if name != HOW_IT_STARTS and asked_by_us():
        seen.append(name)
    return kept(self, name)

type(os.environ).__getitem__ = spy

import botocore.session

def no_client(*_, **__):
    raise AssertionError("a client was made at import")

botocore.session.Session.create_client = no_client
for module in sys.argv[1:]:
    importlib.import_module(module)
    assert not seen, f"{module} asked for {seen}"
"""


def imported(*modules: str, cwd: Path = ROOT) -> str:
    """Import the modules in a new interpreter, and return its stderr."""
    done = subprocess.run(
        [sys.executable, "-c", SPY, *modules],
        cwd=cwd,
        env={"PATH": "", "PYTHONPATH": str(cwd)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1)
    return done.stderr


def test_importing_a_function_reads_no_environment_and_makes_no_client() -> None:
    assert len(MODULES) > 20
    assert imported(*MODULES) == ""


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("import os; os.environ.get('JOBS_TABLE')", "asked for ['JOBS_TABLE']"),
        ("import boto3; boto3.client('sqs', 'us-east-1')", "a client was made at import"),
    ],
)
def test_a_function_that_does_either_is_found(tmp_path: Path, line: str, complaint: str) -> None:
    package = tmp_path / "functions"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "eager.py").write_text(line)
    assert complaint in imported("functions.eager", cwd=tmp_path)


# These need no pydantic: a call waits for its authorizer, and a client for its socket to open.
WITHOUT_MODELS = {f"functions.{name}" for name in ("authorize", "socket_connect")} | {
    f"functions.{name}" for name in ("redrive_tickets", "scale_workers", "socket_disconnect")
}


@pytest.mark.parametrize("module", MODULES)
def test_a_function_loads_few_modules_before_its_first_call(module: str) -> None:
    """Counts modules, because the time of an import is too noisy for a test; see `make bench`."""
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    modules = set(done.stdout.split())
    assert "botocore.session" not in modules  # it is loaded with the first client
    assert not {"jwt", "cryptography"} & modules  # with the first token of an issuer
    if module in WITHOUT_MODELS:
        assert "pydantic" not in modules
        assert len(modules) < 225
    else:
        # pydantic loads it when the first model is built, to look for plugins in every package.
        # Building models is left to the first call.
        assert "importlib.metadata" not in modules
        assert len(modules) < (360 if module == "functions.get_metrics" else 350)
