"""Ready-made processes for the emulator's functions: `python -m localcloud.fork_server <folder>`.

The emulator starts one process for each concurrent call of a function, and an interpreter that
imports a function takes half a second of CPU. So this server forks them instead:

    server: has imported the packages that all functions share
      template, one for each function: has also imported the function and made its clients
        process of the function: runs the emulator's own worker script

Linux only: macOS has neither this kind of socket nor a fork that is safe after such imports.
"""

from __future__ import annotations

import gc
import hashlib
import importlib
import json
import os
import runpy
import signal
import socket
import sys
import threading
import zipfile
from contextlib import suppress
from dataclasses import dataclass, field
from io import BufferedReader, RawIOBase, TextIOWrapper
from pathlib import Path
from typing import Any, NoReturn

from localcloud.fork_launcher import SEPARATOR, SOCKET

IS_SUPPORTED = sys.platform == "linux"
PRELOADED = ("aws_lambda_powertools", "boto3", "pydantic")
MAX_REQUEST = 2**18  # bytes; one message has room for any environment that a process can have
BACKLOG = 1024
# These differ between two processes of the same function.
OF_ONE_PROCESS = {"AWS_LAMBDA_LOG_STREAM_NAME", "LAMBDA_TASK_ROOT", "PWD"}
# Lambda sets it, and then a function makes its clients when it is imported.
INITIALIZATION = {"AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand"}


@dataclass(frozen=True, slots=True)
class Request:
    """What a launcher has sent: the process to start, and the launcher's open files."""

    message: bytes
    # The connection to the launcher, and its standard input, output and error.
    descriptors: list[int] = field(compare=False)

    @property
    def script(self) -> Path:
        return Path(os.fsdecode(self.message.split(SEPARATOR)[0]))

    @property
    def working_folder(self) -> str:
        return os.fsdecode(self.message.split(SEPARATOR)[1])

    @property
    def environment(self) -> dict[str, str]:
        variables = self.message.split(SEPARATOR)[2:]
        pairs = (os.fsdecode(variable).partition("=") for variable in variables)
        return {name: value for name, _, value in pairs}

    @property
    def code(self) -> Path:
        """The function's code as it was deployed. The emulator puts it beside the script."""
        return self.script.with_name("code.zip")

    def close(self) -> None:
        """Close this process's copies of the descriptors."""
        for descriptor in self.descriptors:
            os.close(descriptor)


def serve(folder: Path) -> NoReturn:
    """Answer launchers, which find the server by its socket in `folder`."""
    for name in PRELOADED:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel forgets processes that have ended
    os.chdir(folder)
    Path(SOCKET).unlink(missing_ok=True)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    server.bind(SOCKET)
    server.listen(BACKLOG)
    templates = dict[tuple[str, frozenset[tuple[str, str]]], socket.socket]()
    while True:
        connection, _ = server.accept()
        message, descriptors, _, _ = socket.recv_fds(connection, MAX_REQUEST, 3)
        request = Request(message, [connection.detach(), *descriptors])
        if message:
            digest = hashlib.sha256(request.code.read_bytes()).hexdigest()
            own = {k: v for k, v in request.environment.items() if k not in OF_ONE_PROCESS}
            key = digest, frozenset(own.items())
            if key not in templates:
                others = [server, *templates.values()]
                templates[key] = _new_template(folder / digest, own, request, others)
            socket.send_fds(templates[key], [message], request.descriptors)
        request.close()


def _new_template(
    code: Path, environment: dict[str, str], request: Request, others: list[socket.socket]
) -> socket.socket:
    """Fork a template, and return the socket that takes its requests.

    The template keeps no copy of the request's descriptors or of the others' sockets, because their
    other ends must see when they are closed.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if not os.fork():
        request.close()
        for other in (ours, *others):
            other.close()
        _serve_template(theirs, code, environment)
    theirs.close()
    return ours


def _serve_template(requests: socket.socket, code: Path, environment: dict[str, str]) -> NoReturn:
    """Fork a process for each request, until the server ends."""
    request = _received(requests)
    # The emulator's first line names the function, and it writes no other line before an answer.
    first_line = _line(request.descriptors[1])
    os.environ.clear()
    os.environ.update(environment | INITIALIZATION)
    # The process that has this request reports an error again, where the emulator reads it.
    with suppress(Exception):
        _unpack(request.code, code)
        _prepare(code, json.loads(first_line)["module"])
    gc.collect()
    gc.freeze()  # a collection in a process would copy all of the template's memory
    while True:
        if not os.fork():
            requests.close()
            _become(request, first_line)
        request.close()
        request, first_line = _received(requests), b""


def _received(requests: socket.socket) -> Request:
    message, descriptors, _, _ = socket.recv_fds(requests, MAX_REQUEST, 4)
    if not message:
        os._exit(0)
    return Request(message, descriptors)


def _line(descriptor: int) -> bytes:
    line = b""
    while not line.endswith(b"\n") and (read := os.read(descriptor, MAX_REQUEST)):
        line += read
    return line


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack the code to a place where it stays. The emulator deletes that of each process."""
    if not folder.exists():
        draft = folder.with_suffix(f".{os.getpid()}")
        with zipfile.ZipFile(archive) as code:
            code.extractall(draft)
        with suppress(OSError):  # another template has unpacked the same code
            draft.rename(folder)


def _prepare(code: Path, module: str) -> None:
    """Import the function as its processes do: with everything that it prints in the log."""
    sys.path.insert(0, str(code))
    sys.stdout = sys.stderr
    importlib.import_module(module)


def _become(request: Request, first_line: bytes) -> NoReturn:
    """Run the emulator's worker script with the launcher's files and environment variables."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    connection, *standard = request.descriptors
    for number, descriptor in enumerate(standard):
        os.dup2(descriptor, number)
        os.close(descriptor)
    threading.Thread(target=_end_with, args=(connection,), daemon=True).start()
    os.environ.clear()
    os.environ.update(request.environment)
    os.chdir(request.working_folder)
    sys.argv = [str(request.script)]
    # sys.stderr stays: the function's logger has kept it, and it writes to descriptor 2.
    sys.stdin = TextIOWrapper(BufferedReader(_Input(first_line)))
    sys.stdout = TextIOWrapper(os.fdopen(1, "wb", closefd=False), line_buffering=True)
    try:
        runpy.run_path(str(request.script), run_name="__main__")
    except BaseException:  # noqa: BLE001 - as an interpreter does at its end
        sys.excepthook(*sys.exc_info())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # without the clean-up of a process that is not this one's


def _end_with(connection: int) -> None:
    """End this process when the launcher ends, which the emulator may terminate or kill."""
    os.read(connection, 1)
    os._exit(1)


class _Input(RawIOBase):
    """Standard input, preceded by a line that was already read from it."""

    def __init__(self, first_line: bytes) -> None:
        self._first = first_line

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        read = self._first[: len(buffer)] or os.read(0, len(buffer))
        self._first = self._first[len(read) :]
        buffer[: len(read)] = read
        return len(read)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
