"""`python -m comfyui_sim --port 8188 --data-dir DIR`"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from pathlib import Path

from comfyui_sim.options import CHECKPOINTS, GUISES, Options
from comfyui_sim.server import Simulator


def parse(arguments: list[str] | None = None) -> Options:
    """The options of the command line."""
    parser = argparse.ArgumentParser(
        prog="comfyui_sim", description="A ComfyUI simulator: a test double, not ComfyUI."
    )
    defaults = Options(data_dir=Path())
    parser.add_argument("--data-dir", type=Path, required=True, help="for input, output and temp")
    parser.add_argument("--host", default=defaults.host)
    parser.add_argument("--port", type=int, default=defaults.port, help="0: any free port")
    parser.add_argument(
        "--checkpoint",
        action="append",
        metavar="NAME",
        help=f"a checkpoint that may be loaded; repeatable (default: {', '.join(CHECKPOINTS)})",
    )
    parser.add_argument("--step-ms", type=float, default=defaults.step_ms, help="a sampler step")
    parser.add_argument(
        "--start-window-ms",
        type=float,
        default=defaults.start_window_ms,
        help="from 'taken from the queue' to 'execution begins'; a cancel in it is lost",
    )
    parser.add_argument(
        "--time-scale", type=float, default=defaults.time_scale, help="factor on ProbeSleep"
    )
    parser.add_argument("--preview-method", default=defaults.preview_method)
    parser.add_argument("--preview-size", type=int, default=defaults.preview_size)
    parser.add_argument("--max-upload-bytes", type=int, default=defaults.max_upload_bytes)
    parser.add_argument("--guise", choices=GUISES, default=defaults.guise)
    values = vars(parser.parse_args(arguments))
    checkpoints = tuple(values.pop("checkpoint") or CHECKPOINTS)
    return Options(**values, checkpoints=checkpoints)


async def serve(options: Options) -> None:
    """Serve until the process is killed: like ComfyUI, SIGTERM is not drained."""
    async with Simulator(options) as simulator:
        print(f"comfyui-sim ({options.guise}) listening on {simulator.url}", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(parse()))
