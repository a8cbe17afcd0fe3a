"""The program that makes thumbnails, each in a child: `python -m gpu_worker.thumbnail_server`.

    worker ── two open files: a picture, and where its thumbnail goes ──> server ── fork ──> child
           <── the child's process id, then its exit status ────────────┘

A picture may be hostile, and a decoder may have faults. So each picture is decoded in a process of
its own, which has an empty environment, no capabilities, no TCP connections and little time and
memory. It gives these up before it reads the first byte. The server reads no picture. It only has
imported the decoders, because an interpreter that imports them needs 70 ms of CPU, and a fork 5 ms.

The standard input is the connection to the worker. The server ends when the worker closes it.
"""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import signal
import socket
import struct
from collections.abc import Callable
from typing import IO, NoReturn

from PIL import Image

from gpu_worker.confinement import confine
from gpu_worker.thumbnail import MAX_BYTES, Unsuitable, thumbnail

NUMBER = struct.Struct("=i")  # of the answers

CPU_SECONDS = 20
MEMORY_BYTES = 1024**3  # some copies of the largest picture, at four bytes a pixel

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_CAPABILITIES_VERSION = 0x20080522  # _LINUX_CAPABILITY_VERSION_3 of linux/capability.h


def serve(make: Callable[[IO[bytes]], bytes]) -> None:
    """Run `make` in a child for each picture, until the worker closes the connection.

    A child exits with 1 if `make` raises what a damaged or unsuitable picture causes.
    """
    _give_up_rights()
    Image.preinit()  # or each child would import the decoders
    gc.collect()
    gc.freeze()  # a collection in a child would copy all of this memory
    with socket.socket(fileno=0) as connection:
        while True:
            request, files, _, _ = socket.recv_fds(connection, 1, 2)
            if not request:
                return
            child = os.fork()
            if not child:
                connection.close()
                _run(make, *files)
            for file in files:
                os.close(file)
            connection.sendall(NUMBER.pack(child))
            connection.sendall(NUMBER.pack(os.waitpid(child, 0)[1]))


def _run(make: Callable[[IO[bytes]], bytes], picture: int, into: int) -> NoReturn:
    """Write the thumbnail of one picture, and end this process."""
    status = 1
    try:
        _limit()
        with open(picture, "rb") as body, open(into, "wb") as out:
            out.write(make(body))
        status = 0
    except (Unsuitable, OSError, ValueError, SyntaxError, MemoryError):
        pass
    finally:
        os._exit(status)


def _give_up_rights() -> None:
    """Give up all rights that the children do not need; they inherit the rest."""
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # never outlive the worker
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)  # no child may change this process
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    # The worker's interpreter has capabilities. Three sets of 64 bits: now there are none.
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_VERSION, 0)
    if libc.capset(header, (ctypes.c_uint32 * 6)()):
        raise OSError("the capabilities cannot be given up")
    confine()


def _limit() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # a fork clears it
    for limit, most in (
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, MAX_BYTES),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (most, most))


if __name__ == "__main__":
    serve(thumbnail)
