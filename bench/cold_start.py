"""The CPU time of a function's cold start. Other work on the machine changes CPU time little.

Each try runs two interpreters, one after the other. The first imports boto3 and creates clients,
the second imports the function and creates the same clients. Both end with `os._exit`, because the
clean-up of an interpreter is not part of a start.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from localcloud.emulator import REGION
from localcloud.state import ROOT

# The use cases that each function imports at its first call, and the clients that it creates then.
USE_CASES = {
    "authorize": ("access.authenticate",),
    "submit_job": ("intake.submit",),
    "get_job": ("jobs.read",),
    "list_jobs": ("jobs.read",),
    "cancel_job": ("jobs.cancel", "intake.admit"),
    "push_updates": ("live.notify",),
    "settle_jobs": ("jobs.settle", "ledger.count", "intake.admit"),
    "socket_subscribe": ("live.subscribe",),
    "sweep_jobs": ("jobs.sweep", "live.close_sockets", "intake.admit", "ledger.count"),
    "get_metrics": ("ledger.count",),
}
CLIENTS = {
    "authorize": ("dynamodb",),
    "submit_job": ("dynamodb", "sqs", "s3"),
    "get_job": ("dynamodb", "sqs", "s3"),
    "list_jobs": ("dynamodb",),
    "cancel_job": ("dynamodb", "s3"),
    "push_updates": ("dynamodb", "s3", "apigatewaymanagementapi"),
    "settle_jobs": ("dynamodb", "sqs", "lambda"),
    "socket_subscribe": ("dynamodb", "s3", "apigatewaymanagementapi"),
    "sweep_jobs": ("dynamodb", "sqs", "s3"),
    "get_metrics": ("dynamodb", "sqs"),
}
_BARE = "import boto3\nsession = boto3.Session()\nfor name in {0}: session.client(name)"
_OURS = """
from importlib import import_module
from functions._aws import Clients
import functions.{1}
for name in {2}: import_module("comfyline.service." + name)
client = Clients()
for name in {0}: client(name)
"""
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


def cold_start(function: str, tries: int) -> ColdStart:
    """Measure the modules and clients of functions/<function>.py, and the same clients alone."""
    clients = CLIENTS[function]
    ours, bare = _OURS.format(clients, function, USE_CASES[function]), _BARE.format(clients)
    pairs = [(_milliseconds(ours), _milliseconds(bare)) for _ in range(tries)]
    return ColdStart(min(ours for ours, _ in pairs), min(bare for _, bare in pairs))


def _milliseconds(code: str) -> float:
    environ = {**os.environ, "AWS_DEFAULT_REGION": REGION, "PYTHONPATH": str(ROOT)}
    command: Sequence[str] = (sys.executable, "-c", code + _END)
    child = subprocess.Popen(command, env=environ)
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"an interpreter ended with status {child.returncode}: {code}")
    return 1000 * (used.ru_utime + used.ru_stime)
