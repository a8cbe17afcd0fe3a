"""What a process keeps from its start is right in every process that is restored from its snapshot.

A fork stands for a restore, because parent and child have the same memory. Python itself seeds
`random` anew in a forked child, which it does not do after a restore.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from infra.functions import FUNCTIONS
from tools.cold_starts import environment_of

ROOT = Path(__file__).parents[3]
ROWS = [row for row in FUNCTIONS.values() if row.is_called_by_gateway]
MODULES = sorted({f"functions.{row.module}" for row in ROWS})
ENVIRONMENT = {name: value for row in ROWS for name, value in environment_of(row).items()} | {
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start",
    "PATH": "",
    "PYTHONPATH": str(ROOT),
}

# `hooks` stands for the library of Lambda's Python runtime with which functions register what runs
# after each restore.
HOOKS = """
import importlib, json, os, sys, types

hooks = types.ModuleType("snapshot_restore_py")
after_restore = []
hooks.register_after_restore = lambda call, *args, **kwargs: after_restore.append(
    (call, args, kwargs)
)
sys.modules["snapshot_restore_py"] = hooks
"""

RESTORES = """
import random
import functions._handlers
from comfyline.adapters.aws.pauses import jittered

kept = random.getstate()

def restored():
    read, write = os.pipe()
    if not os.fork():
        random.setstate(kept)
        for call, args, kwargs in after_restore:
            call(*args, **kwargs)
        os.write(write, repr([*jittered(1, 60, 9)]).encode())
        os._exit(0)
    os.close(write)
    with open(read) as drawn:
        return drawn.read()

print(json.dumps(len({restored() for _ in range(3)})))
"""

HOOKED = """
hooked = {}
for module in sys.argv[1:]:
    after_restore.clear()
    for name in [name for name in sys.modules if name.startswith("functions")]:
        del sys.modules[name]
    importlib.import_module(module)
    hooked[module] = [call.__qualname__ for call, _, _ in after_restore]
print(json.dumps(hooked))
"""

# At its start, a process may make clients, but it may not call anything: what it reads could be old
# after a restore, and what it connects to is gone.
CALLS = """
calls = []
sys.addaudithook(
    lambda event, args: calls.append(str(args))
    if event in ("socket.connect", "socket.getaddrinfo")
    else None
)
for module in sys.argv[1:]:
    importlib.import_module(module)

from functions._handlers import _of_the_process
print(json.dumps([len(_of_the_process().aws.client.made), calls]))
"""

# Lambda gives a process with a snapshot no keys in its environment variables, but an address to get
# them from. Those that it gets at its start end before it is restored.
CREDENTIALS = """
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

class Vendor(BaseHTTPRequestHandler):
    given = 0

    def do_GET(self):
        Vendor.given += 1
        ends = datetime.now(timezone.utc) + timedelta(hours=-1 if Vendor.given == 1 else 1)
        answer = json.dumps({
            "AccessKeyId": f"KEY-{Vendor.given}", "SecretAccessKey": "secret", "Token": "token",
            "Expiration": ends.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass

server = HTTPServer(("127.0.0.1", 0), Vendor)
Thread(target=server.serve_forever, daemon=True).start()
os.environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = f"http://127.0.0.1:{server.server_port}/keys"

import functions.get_artifact
from functions._handlers import _of_the_process

given = Vendor.given
url = _of_the_process().aws.artifacts.sign("any", name="any", seconds=60)
print(json.dumps([given, "KEY-1" in url, "KEY-2" in url]))
"""
KEYS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret"}


def started(code: str, *modules: str, **environ: str) -> object:
    """What the code prints in a process that Lambda starts for a snapshot."""
    done = subprocess.run(
        [sys.executable, "-c", HOOKS + code, *modules],
        cwd=ROOT,
        env=ENVIRONMENT | environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.returncode, done.stderr
    return json.loads(done.stdout)


def test_restored_processes_draw_different_numbers() -> None:
    assert started(RESTORES, **KEYS) == 3


def test_without_a_hook_all_would_draw_the_same() -> None:
    """The test above would fail if the functions registered nothing."""
    assert started(RESTORES, AWS_LAMBDA_INITIALIZATION_TYPE="on-demand", **KEYS) == 1


def test_every_function_with_a_snapshot_registers_the_hook() -> None:
    assert started(HOOKED, *MODULES, **KEYS) == {module: ["Random.seed"] for module in MODULES}


def test_a_start_makes_clients_and_calls_nothing() -> None:
    clients, calls = started(CALLS, *MODULES, **KEYS)
    assert clients > 2
    assert calls == []


def test_a_client_of_the_snapshot_signs_with_keys_that_are_valid() -> None:
    at_start, with_old, with_new = started(CREDENTIALS)
    assert at_start == 1  # so the client did have the old keys
    assert (with_old, with_new) == (False, True)
