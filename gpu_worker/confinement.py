"""Keep the engine, and all that it starts, from opening TCP connections.

The worker's task uses the host's network, which reaches the instance's metadata service. With its
credentials a malicious node could act as the instance, and send callers' pictures anywhere. The
engine needs no connections: the worker fetches inputs and models, and connects to the engine.

This uses Landlock, a part of the Linux kernel by which a process restricts itself without
privileges. Version 4 of its interface (Linux 6.7) covers TCP. No version covers UDP, but the
network lets only DNS requests to its own name server pass.
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
    """Keep this process and its children from opening TCP connections. It cannot be undone.

    Returns False, and changes nothing, if the kernel cannot.
    """
    libc = _libc()
    # Two masks: rights to files and to the network. Without a rule, rights in a mask are denied.
    handled = ctypes.create_string_buffer(struct.pack("=QQ", 0, _CONNECT_TCP), 16)
    ruleset = libc.syscall(_CREATE_RULESET, handled, ctypes.c_size_t(16), 0)
    if ruleset < 0:
        return False
    libc.prctl(
        _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0
    )  # Landlock requires it of a process without privileges
    return bool(libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)
