"""`make run`: one job through the public API, as a client on this machine posts it."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from rich.console import Console

from localcloud.cloud import Options, local_cloud
from localcloud.processes import stop_signal
from localcloud.sign_in import console_of, opened, sign_in_link
from localcloud.state import Endpoints, State

EXAMPLE_STEPS = "60"  # long enough to be watched

_out = Console(highlight=False)


async def run_one_job(
    state: State,
    options: Options,
    prompt: str,
    out: Path,
    report: Callable[[str], None],
    *,
    in_browser: bool,
) -> int:
    """Start everything, run a job for the prompt, and stop everything.

    `report` is called at each step of the start. `in_browser`: open the console before the job, and
    stop only at SIGTERM or Ctrl-C.

    Returns: the exit status of the client, which saves the picture in `out`.

    Raises:
        CloudFailed: the service does not start, or gives no link for the browser.
    """
    stop = stop_signal()
    async with local_cloud(state, options, report) as endpoints:
        if in_browser:  # before the job, whose progress the page shows
            await asyncio.to_thread(_open_console, endpoints)
        client = await _start_client(prompt, out, endpoints.client_environment)
        stopping = asyncio.create_task(stop.wait())
        ending = asyncio.create_task(client.wait())
        await asyncio.wait({stopping, ending}, return_when=asyncio.FIRST_COMPLETED)
        if in_browser and not stop.is_set():
            _out.print("\nThe service stays up for the console. To stop it: Ctrl-C", markup=False)
            await stopping
        stopping.cancel()
        if client.returncode is None:
            client.terminate()
        return await ending


def _open_console(endpoints: Endpoints) -> None:
    link = sign_in_link(endpoints)
    if opened(link):
        text = f"\nThe console is open in your browser: {console_of(endpoints)}"
        _out.print(text, markup=False, soft_wrap=True)
    else:
        text = "\nThere is no browser here. Open this link within ten minutes; it works once:"
        _out.print(f"{text}\n{link}", markup=False, soft_wrap=True)


async def _start_client(
    prompt: str, out: Path, settings: Mapping[str, str]
) -> asyncio.subprocess.Process:
    arguments = ("submit", prompt, "--steps", EXAMPLE_STEPS, "--watch", "--out", str(out))
    _out.print(f"\n$ comfyline {shlex.join(arguments)}", markup=False, soft_wrap=True)
    return await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("comfyline"), *arguments, env={**os.environ, **settings}
    )
