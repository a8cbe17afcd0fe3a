"""The ComfyUI of each worker: a simulator process, unless COMFYUI_URL names a real one."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import httpx

from localcloud.emulator import inherited
from localcloud.processes import Program
from localcloud.readiness import answers
from localcloud.state import CloudFailed, State

READY_SECONDS = 60.0


def folder_of(number: int, state: State) -> Path:
    """Where a simulator keeps its `input`, `output` and `temp`."""
    return state.folder / f"comfyui-{number}"


def simulator(number: int, port: int, state: State) -> Program:
    """A simulator that listens on that port."""
    return Program(
        name=f"comfyui-{number}",
        arguments=(
            *(sys.executable, "-m", "comfyui_sim"),
            *("--port", str(port), "--data-dir", str(folder_of(number, state))),
        ),
        environment=inherited(),
    )


async def ready(url: str) -> None:
    """Wait until ComfyUI answers at that URL.

    Raises:
        CloudFailed: it did not answer within 60 s.
    """
    async with httpx.AsyncClient(trust_env=False) as http:
        try:
            async with asyncio.timeout(READY_SECONDS):
                while not await answers(http, f"{url}/prompt"):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise CloudFailed(
                f"No ComfyUI answered at {url} within {READY_SECONDS:.0f} s. "
                "Check COMFYUI_URL; if it is not set, see the log of the simulator."
            ) from None
