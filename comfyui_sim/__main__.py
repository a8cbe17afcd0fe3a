"""`python -m comfyui_sim --port 8188 --data-dir DIR`"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from pathlib import Path

from comfyui_sim.options import CHECKPOINTS, GUISES, Options
from comfyui_sim.server import Simulator


def parse(arguments: list[str] | None = None) -> Options:
    """The options of the command line."""
    defaults = Options(data_dir=Path())
    parser = argparse.ArgumentParser(
        prog="comfyui_sim",
        description="Run a ComfyUI simulator, a test double without a GPU.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--data-dir",
        type=Path,
        required=True,
        default=argparse.SUPPRESS,
        help="folder for input, output and temp",
    )
    parser.add_argument("--host", default=defaults.host, help="address to listen on")
    parser.add_argument(
        "--port", type=int, default=defaults.port, help="port to listen on; 0 takes a free one"
    )
    parser.add_argument(
        "--checkpoint",
        action="append",
        metavar="NAME",
        default=argparse.SUPPRESS,
        help=f"a checkpoint that prompts can load; repeatable (default: {', '.join(CHECKPOINTS)})",
    )
    parser.add_argument("--guise", choices=GUISES, default=defaults.guise, help="imitated version")
    parser.add_argument(
        "--quiet-log",
        action="store_true",
        help="a message that the log cannot encode does not end the executor",
    )
    _add_times(parser, defaults)
    _add_previews(parser, defaults)
    parser.add_argument(
        "--max-upload-bytes",
        type=int,
        default=defaults.max_upload_bytes,
        help="larger uploads are answered with 413",
    )
    values = vars(parser.parse_args(arguments))
    checkpoints = tuple(values.pop("checkpoint", CHECKPOINTS))
    return Options(**values, checkpoints=checkpoints)


def _add_times(parser: argparse.ArgumentParser, defaults: Options) -> None:
    parser.add_argument(
        "--step-ms", type=float, default=defaults.step_ms, help="milliseconds of a sampler step"
    )
    parser.add_argument(
        "--start-window-ms",
        type=float,
        default=defaults.start_window_ms,
        help="milliseconds between taking a prompt and beginning it; a cancel in between is lost",
    )
    parser.add_argument(
        "--time-scale",
        type=float,
        default=defaults.time_scale,
        help="factor on the seconds of ProbeSleep and on the interval of progress messages",
    )


def _add_previews(parser: argparse.ArgumentParser, defaults: Options) -> None:
    parser.add_argument(
        "--preview-method", default=defaults.preview_method, help="none switches previews off"
    )
    parser.add_argument(
        "--preview-size",
        type=int,
        default=defaults.preview_size,
        help="longest side of a preview in pixels",
    )


async def serve(options: Options) -> None:
    """Serve until the process is killed. Like ComfyUI, it does not drain on SIGTERM."""
    async with Simulator(options) as simulator:
        print(f"ComfyUI simulator ({options.guise}) listening on {simulator.url}", flush=True)
        await asyncio.Event().wait()


def main() -> None:
    """The command."""
    options = parse()
    with contextlib.suppress(KeyboardInterrupt):
        try:
            asyncio.run(serve(options))
        except OSError as error:
            where = f"{options.host}:{options.port}"
            sys.exit(
                f"comfyui_sim: cannot start on {where}: {error}. Is the port in use? See --port."
            )


if __name__ == "__main__":
    main()
