"""Shows pictures in terminals that can show them: those with iTerm2's or kitty's protocol.

https://iterm2.com/documentation-images.html
https://sw.kovidgoyal.net/kitty/graphics-protocol/

A terminal gets the bytes of a picture in base64, so that nothing in a file can steer it.
"""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

from rich.console import Console

from comfyline.client.blocking.client import Comfyline

Protocol = Literal["iterm2", "kitty"]

MAX_PICTURES = 4
MAX_BYTES = 8 * 2**20
ROWS = 20  # of text, as high as a picture is shown
_PNG = b"\x89PNG\r\n\x1a\n"
_CHUNK = 4096  # of base64, as long as kitty allows
_ITERM2_PROGRAMS = {"iTerm.app", "WezTerm"}


def protocol_of(environ: Mapping[str, str]) -> Protocol | None:
    """The protocol of the terminal; None if it has none that is known.

    COMFYLINE_PICTURES is `iterm2`, `kitty` or `none`, and decides alone.
    """
    chosen = environ.get("COMFYLINE_PICTURES")
    if chosen is not None:
        return next((each for each in get_args(Protocol) if each == chosen), None)
    if environ.get("TMUX") or environ.get("TERM", "").startswith(("screen", "tmux")):
        return None  # it passes neither protocol on
    if environ.get("KITTY_WINDOW_ID") or environ.get("TERM") in ("xterm-kitty", "xterm-ghostty"):
        return "kitty"
    return "iterm2" if environ.get("TERM_PROGRAM") in _ITERM2_PROGRAMS else None


def show_files(console: Console, paths: Sequence[Path]) -> None:
    """Show the first of the pictures, if the terminal can."""
    if (protocol := _protocol(console)) is not None:
        contents = (path.read_bytes() for path in paths if path.stat().st_size <= MAX_BYTES)
        _show(console, protocol, contents)


def show_of_job(console: Console, client: Comfyline, job_id: str) -> None:
    """Fetch and show the first pictures of an ended job, if the terminal can show any."""
    if (protocol := _protocol(console)) is not None:
        found = client.job(job_id).images(most=MAX_PICTURES, max_bytes=MAX_BYTES)
        _show(console, protocol, (picture.content for picture in found))


def _protocol(console: Console) -> Protocol | None:
    return protocol_of(os.environ) if console.is_terminal else None


def _show(console: Console, protocol: Protocol, contents: Iterator[bytes]) -> None:
    shown = 0
    for content in contents:
        if shown < MAX_PICTURES and (code := encoded(protocol, content)):
            console.file.write(code + "\n")
            shown += 1
    console.file.flush()


def encoded(protocol: Protocol, content: bytes) -> str:
    """What makes the terminal show the picture; nothing if it cannot show this kind of file."""
    if protocol == "kitty":
        return _for_kitty(content) if content.startswith(_PNG) else ""
    is_webp = content.startswith(b"RIFF") and content[8:12] == b"WEBP"
    if not (is_webp or content.startswith((_PNG, b"\xff\xd8\xff", b"GIF8"))):
        return ""
    size = f"size={len(content)};height={ROWS}"
    return f"\x1b]1337;File=inline=1;{size}:{b64encode(content).decode()}\a"


def _for_kitty(content: bytes) -> str:
    data = b64encode(content).decode()
    chunks = [data[at : at + _CHUNK] for at in range(0, len(data), _CHUNK)]
    first = f"a=T,f=100,q=2,r={ROWS},"
    return "".join(
        f"\x1b_G{'' if number else first}m={int(number + 1 < len(chunks))};{chunk}\x1b\\"
        for number, chunk in enumerate(chunks)
    )
