"""A cold start does nothing that a later call might not need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
MODULES = sorted(f"functions.{path.stem}" for path in (ROOT / "functions").glob("*.py"))

# What libraries read for themselves as they are imported is theirs; ours is told by who asks.
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

def spy(self, name):
    if asked_by_us():
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
    """What a fresh interpreter has to complain about when it imports these."""
    done = subprocess.run(
        [sys.executable, "-c", SPY, *modules],
        cwd=cwd,
        env={"PATH": "", "PYTHONPATH": str(cwd)},
        capture_output=True,
        text=True,
        timeout=60,
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
def test_one_that_did_would_be_caught(tmp_path: Path, line: str, complaint: str) -> None:
    package = tmp_path / "functions"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "eager.py").write_text(line)
    assert complaint in imported("functions.eager", cwd=tmp_path)


# What every call waits for, and what opens and closes sockets.
WITHOUT_MODELS = {f"functions.{name}" for name in ("authorize", "socket_connect")} | {
    f"functions.{name}" for name in ("redrive_tickets", "scale_workers", "socket_disconnect")
}


@pytest.mark.parametrize("module", MODULES)
def test_a_function_reads_little_before_its_first_call(module: str) -> None:
    """Time is too noisy to be held here; `make bench` tells it. Modules are what takes it."""
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    modules = set(done.stdout.split())
    assert "boto3" not in modules  # it comes with the first client
    if module in WITHOUT_MODELS:
        assert "pydantic" not in modules
        assert len(modules) < 225
    else:
        # Its plugins' loader, which looks at every package, comes with the first model that is
        # built: that is left to the first call.
        assert "importlib.metadata" not in modules
        assert len(modules) < (345 if module == "functions.get_metrics" else 295)
