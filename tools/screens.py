"""Writes pictures of the command line's screens, docs/images/screen-*.svg, from a running service.

    make up
    python -m tools.screens [--endpoints .local/endpoints.json] [--out docs/images]

Each command runs in a pseudo-terminal, as it runs for a person. The pictures use the fonts of the
machine that shows them, and load nothing.
"""

from __future__ import annotations

import argparse
import fcntl
import io
import json
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parents[1]
ROWS = 40
# rich names fonts of another host.
_FORMAT = re.sub(r"@font-face \{\{.*?\}\}\n\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
_ENDINGS = re.compile(r"(\r\n|\n|\r|\x1b\[2K|\x1b\[\d*A|\x1b\[\?25[lh])")


@dataclass(frozen=True, slots=True)
class Screen:
    """One picture: a command, and how wide its terminal is.

    Of a screen that moves, `moment` chooses the frame: 0 the first, 1 the last.
    """

    name: str
    command: str
    columns: int = 100
    moment: float = 1.0


_NOWHERE = "COMFYLINE_URL=http://127.0.0.1:9 COMFYLINE_API_KEY=cl_1_2"
SCREENS = (
    Screen("help", "comfyline --help"),
    Screen("login", "comfyline config list"),
    Screen("submit", "comfyline submit 'a red fox in the snow' --steps 60 --watch", moment=0.6),
    Screen("watch", "comfyline watch --all", moment=0.5),
    Screen("watch-narrow", "comfyline watch --all", 60, moment=0.5),
    Screen("list", "comfyline list --limit 8"),
    Screen("list-narrow", "comfyline list --limit 8", 60),
    Screen("get", "comfyline get last"),
    Screen("get-narrow", "comfyline get last", 60),
    Screen("events", "comfyline events last", 80),
    Screen("files", "comfyline files last", 80),
    Screen("status", "comfyline status", 80),
    Screen("doctor", "comfyline doctor"),
    Screen("models", "comfyline models"),
    Screen("refused", "comfyline submit 'a red fox' --width 500 --sampler eular"),
    Screen(
        "unreachable", "COMFYLINE_URL=http://127.0.0.1:9 COMFYLINE_API_KEY=cl_1_2 comfyline list"
    ),
)
_MANY = [f"a red fox {where}" for where in ("in the snow", "at night", "in a forest", "by the sea")]


def frames_of(output: str) -> list[str]:
    """Each whole state of the terminal, as lines with colours: before an erasure, and the end.

    rich erases its bars from the last line up, and draws all of them again.
    """
    lines, at, frames, is_erasing = [""], 0, list[str](), False
    for part in _ENDINGS.split(output):
        if part == "\x1b[2K":
            if not is_erasing:
                frames.append("\n".join(lines).rstrip("\n"))
            is_erasing, lines[at] = True, ""
        elif part.startswith("\x1b[") and part.endswith("A"):
            at = max(0, at - int(part[2:-1] or 1))
        elif part in ("\n", "\r\n"):
            at += 1
            lines += [""] * (at + 1 - len(lines))
        elif part not in ("", "\r") and not part.startswith("\x1b[?25"):
            is_erasing = False
            lines[at] += part
    return [*frames, "\n".join(lines).rstrip("\n")]


def frame_at(output: str, moment: float) -> str:
    """The state of the terminal at this moment of the output."""
    frames = frames_of(output)
    return frames[round(moment * (len(frames) - 1))]


def run(command: str, columns: int, environ: dict[str, str]) -> str:
    """What the command writes to a terminal of this width."""
    process, descriptor = pty.fork()
    if process == 0:
        os.execvpe("sh", ["sh", "-c", command], {**environ, "TERM": "xterm-256color"})
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
    output = b"".join(_read(descriptor))
    os.waitpid(process, 0)
    os.close(descriptor)
    return output.decode(errors="replace")


def _read(descriptor: int) -> Iterator[bytes]:
    while True:
        try:
            chunk = os.read(descriptor, 65536)
        except OSError:  # Linux says so when the other end is closed
            return
        if not chunk:
            return
        yield chunk


def as_svg(screen: Screen, output: str) -> str:
    """The picture of the screen."""
    console = Console(record=True, width=screen.columns, file=io.StringIO(), color_system=None)
    prompt = Text.assemble(("$ ", "bold green"), (screen.command, "bold"))
    frame = Text.from_ansi(frame_at(output, screen.moment))
    # Browsers cut the lower edge of the last line.
    console.print(prompt, frame, "", sep="\n")
    return console.export_svg(title="", code_format=_FORMAT, unique_id=screen.name)


def environment(endpoints: Path, config: str) -> dict[str, str]:
    """The variables of the commands: a profile of the service, and none of this shell's."""
    own = {k: v for k, v in os.environ.items() if not k.startswith("COMFYLINE_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{own['PATH']}"
    environ = {**own, "PATH": path, "COMFYLINE_CONFIG": config, "COMFYLINE_PICTURES": "none"}
    found = json.loads(endpoints.read_text())
    login = ["comfyline", "login", "--url", found["api_url"]]
    subprocess.run(login, env=environ, input=found["api_key"], text=True, check=True)
    return environ


def _submit(environ: dict[str, str], prompts: Sequence[str]) -> None:
    for prompt in prompts:
        command = ["comfyline", "submit", prompt, "--steps", "250"]
        subprocess.run(command, env=environ, check=True, capture_output=True)


def main() -> None:
    """Write the pictures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--endpoints", type=Path, default=ROOT / ".local" / "endpoints.json")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    parser.add_argument("--only", default="", help="the beginning of the names to write")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as config:
        environ = environment(given.endpoints, config)
        for screen in SCREENS:
            if not screen.name.startswith(given.only):
                continue
            if "--all" in screen.command:
                _submit(environ, _MANY)
            picture = as_svg(screen, run(screen.command, screen.columns, environ))
            (given.out / f"screen-{screen.name}.svg").write_text(picture)


if __name__ == "__main__":
    main()
