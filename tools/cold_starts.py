"""The CPU time of a function's cold start on Lambda: an interpreter, imports, and clients.

The code is a deployment's own asset, with its bytecode, and runs under Lambda's Python without a
site folder and without any other cache (`-S -B`). It is compared with an interpreter that imports
boto3 as Lambda's runtime has it, and makes the same clients. Other work on the machine changes CPU
time little, but not its ratio to another one that was measured just before. Each interpreter ends
with `os._exit`, because its clean-up is not part of a start.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path

from infra.assets import code_asset, python_for_bytecode
from infra.declarations import Function
from infra.deployment_file import parse_deployment

# Lambda's name for each architecture of a machine.
ARCHITECTURES = {"x86_64": "x86_64", "aarch64": "arm64"}
# What Lambda's runtime has of its own. `six` is a module, the others are packages.
RUNTIME_PACKAGES = ("boto3", "botocore", "dateutil", "jmespath", "s3transfer", "six", "urllib3")
REGION = "us-east-1"
# The most that a start may take, as a multiple of boto3 with the same clients.
GOAL = 1.2
_VARIABLES = {
    "AWS_ACCESS_KEY_ID": "id",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_REGION": REGION,
    "LOG_LEVEL": "INFO",
}
_SEEN = """
import json, sys
compiled = []
def count(event, given):
    if event == "compile" and "def __create_fn__" in str(given[0]):
        compiled.append(given)
sys.addaudithook(count)
{start}
from functions._handlers import _of_the_process
clients = sorted(_of_the_process().aws.client.made)
print(json.dumps([clients, len(compiled)]), flush=True)"""
_BARE = """
import boto3
session = boto3.Session()
for service, endpoint in {clients}: session.client(service, endpoint_url=endpoint)"""
_END = "\nimport os\nos._exit(0)"


@dataclass(frozen=True, slots=True)
class ColdStart:
    """Milliseconds of CPU, each the least of several tries."""

    ours: float
    bare: float

    @property
    def ratio(self) -> float:
        """The function's CPU time as a multiple of boto3's alone."""
        return self.ours / self.bare


@dataclass(frozen=True, slots=True)
class Start:
    """What a function does at its start."""

    # The service and the endpoint of each client that it makes.
    clients: Sequence[tuple[str, str | None]]
    # How many dataclasses have their methods compiled.
    classes_compiled: int


@dataclass(frozen=True, slots=True)
class Lambda:
    """Lambda's Python with the asset of a deployment, or with boto3 alone in `runtime`."""

    python: Path
    asset: Path
    runtime: Path

    @classmethod
    def prepared(cls, folder: Path) -> Lambda | None:
        """The asset for this machine's architecture, and boto3, compiled; in the empty `folder`.

        None: this machine has no Python of Lambda's version, or another architecture than Lambda.
        """
        python, architecture = python_for_bytecode(), ARCHITECTURES.get(platform.machine())
        if python is None or architecture is None:
            return None
        chosen = {"functions": {"architecture": architecture}, "worker": {"image": "none:1"}}
        deployment = parse_deployment({"stage": "test", **chosen}, "cold starts")
        asset, runtime = code_asset(deployment, cache=folder / "asset"), folder / "runtime"
        for name in RUNTIME_PACKAGES:
            _copy(name, runtime)
        subprocess.run([python, "-m", "compileall", "-q", runtime], check=True)
        return cls(python, asset, runtime)

    def cold_start(self, row: Function, tries: int) -> ColdStart:
        """Measure the function, and boto3 with the clients that it makes at its start, in turn."""
        ours, bare = _ours(row), _BARE.format(clients=self.seen(row).clients)
        pairs = [
            (self._start(row, ours)[0], self._run(bare, {}, self.runtime)[0]) for _ in range(tries)
        ]
        return ColdStart(min(ours for ours, _ in pairs), min(bare for _, bare in pairs))

    def seen(self, row: Function) -> Start:
        """What the function does at its start."""
        _, printed = self._start(row, _SEEN.format(start=_ours(row)))
        clients, classes_compiled = json.loads(printed)
        return Start([(service, endpoint) for service, endpoint in clients], classes_compiled)

    def _start(self, row: Function, code: str) -> tuple[float, str]:
        """Run the code as in a process that Lambda starts for the function."""
        environ = {**environment_of(row), "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand"}
        return self._run(code, environ, self.asset)

    def _run(self, code: str, environ: Mapping[str, str], folder: Path) -> tuple[float, str]:
        """Milliseconds of CPU, and what the code printed. Packages are imported from `folder`."""
        paths = f"import sys\nsys.path.insert(0, {str(folder)!r})\n"
        command = (self.python, "-S", "-B", "-c", paths + code + _END)
        with subprocess.Popen(
            command, env=_VARIABLES | dict(environ), stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout is not None
            printed = child.stdout.read()
            _, status, used = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise RuntimeError(f"an interpreter ended with {child.returncode}: {code}")
        return 1000 * (used.ru_utime + used.ru_stime), printed


def _ours(row: Function) -> str:
    return f"import functions.{row.module}"


def _copy(name: str, folder: Path) -> None:
    """Copy the source of a package, or of a module, of this interpreter."""
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    found = Path(spec.origin)
    if found.name == "__init__.py":
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(found.parent, folder / name, ignore=ignored)
    else:
        shutil.copy(found, folder)


def environment_of(row: Function) -> dict[str, str]:
    """Environment variables with which the function starts; their values name nothing real."""
    wanted = [field for group in row.settings for field in fields(group)]
    values = {"int": "1", "float": "1", "bool": "false"}
    return {
        field.name.upper(): values.get(str(field.type), "x")
        for field in wanted
        if field.default is MISSING
    } | {"POWERTOOLS_SERVICE_NAME": row.module}
