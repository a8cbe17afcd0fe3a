"""Set the operator's switches without undoing what another operator does meanwhile."""

from __future__ import annotations

from dataclasses import asdict

from comfyline.contract.ids import OwnerId
from comfyline.service.access.keys import Flags, KeyStore, Switches, SwitchesChanged
from comfyline.service.clock import Clock


def set_switches(asked: Flags, *, seen: int, by: OwnerId, keys: KeyStore, clock: Clock) -> Switches:
    """Set all switches, if their version is still the one that the operator has seen.

    Switches that are as asked already are a success: the answer to an earlier call may be lost.

    Raises:
        SwitchesChanged: another operator was faster.
    """
    try:
        return keys.switch(asdict(asked), clock(), by, seen=seen)
    except SwitchesChanged as changed:
        if changed.current.flags == asked:
            return changed.current
        raise
