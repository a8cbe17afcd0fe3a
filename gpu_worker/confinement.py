"""Keep the engine, and all that it starts, from opening TCP connections.

The worker's task is in the host's network, where the instance's metadata answer. With them a
malicious node could act as the instance, and send a caller's pictures anywhere. An engine needs no
connection of its own: the worker fetches inputs and models, and talks to the engine.

The kernel's Landlock does it, which a process without privileges may use on itself. It covers TCP
from version 4 of its interface on (Linux 6.7). It does not cover UDP, of which the network lets
only questions to the network's own name server pass.
"""

from __future__ import annotations

import ctypes
import struct

NETWORK_VERSION = 4
_CREATE_RULESET, _RESTRICT_SELF = 444, 446  # system calls, the same on every processor
_VERSION_FLAG = 1
_CONNECT_TCP = 1 << 1
_PR_SET_NO_NEW_PRIVS = 38


def can_confine() -> bool:
    """Whether this kernel can keep a process from opening TCP connections."""
    version: int = _libc().syscall(_CREATE_RULESET, None, 0, _VERSION_FLAG)
    return version >= NETWORK_VERSION


def confine() -> bool:
    """Keep this process and its children from opening TCP connections from now on, for ever.

    Returns False, and changes nothing, if the kernel cannot.
    """
    libc = _libc()
    # Rights to files, rights to the network. No rule follows, so what is handled is denied.
    handled = ctypes.create_string_buffer(struct.pack("=QQ", 0, _CONNECT_TCP), 16)
    ruleset = libc.syscall(_CREATE_RULESET, handled, ctypes.c_size_t(16), 0)
    if ruleset < 0:
        return False
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)  # Landlock requires it of a process without rights
    return bool(libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)
