"""The package: the generated blocking client, its dependencies, and calls in threads."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import comfyline
from comfyline.client.primitives import Group, Stopped
from tests.support.eventually import WITHIN
from tools.blocking_client import TARGET, blocking_files


def test_the_blocking_client_agrees_with_the_asyncio_client() -> None:
    files = blocking_files()
    assert set(TARGET.glob("*.py")) == set(files)
    for path, code in files.items():
        assert path.read_text() == code, f"{path.name} is out of date: run `make client`"
        assert not re.search("await|async|Async", code.partition("\n")[2])


def test_the_client_imports_its_own_dependencies_only() -> None:
    code = "import sys, comfyline.client.cli; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = set(done.stdout.split())
    others = {"aiohttp", "aws_lambda_powertools", "blake3", "boto3", "PIL", "prometheus_client"}
    assert modules.isdisjoint(others)
    ours = {name for name in modules if name.startswith("comfyline.")}
    assert all(name.startswith(("comfyline.client", "comfyline.contract")) for name in ours)


def test_type_checkers_read_the_package() -> None:
    (folder,) = comfyline.__path__
    assert (Path(folder) / "py.typed").exists()


# --- calls side by side, in threads ---------------------------------------------------------------


def test_a_group_raises_the_first_error_and_begins_no_other_call() -> None:
    begun: list[int] = []

    def fail() -> None:
        begun.append(1)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        Group().run([fail] * 9, at_once=2)
    assert len(begun) <= 2


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Make Ctrl-C raise KeyboardInterrupt, also where a shell has SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_does_not_wait_for_a_call_that_waits_for_the_network() -> None:
    group, released, changed = Group(), threading.Event(), threading.Event()
    main = threading.main_thread().ident
    assert main is not None

    def stalled() -> None:
        signal.pthread_kill(main, signal.SIGINT)
        released.wait(WITHIN)
        group.raise_if_stopped()
        changed.set()

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        group.run([stalled], at_once=1)
    assert time.monotonic() - began < WITHIN  # so long the call waits
    with pytest.raises(Stopped):
        group.raise_if_stopped()
    released.set()
    assert not changed.wait(0.1)
