"""The processes of a session, as Linux shows them in /proc."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")
_SESSION = 3  # the place of the session's id in the fields of `stat`


def processes_of(session: int, proc: Path = PROC) -> Iterator[tuple[Path, list[str]]]:
    """The folder of each process of the session, with the fields of its `stat` behind the name.

    A process that ends meanwhile is left out.
    """
    for folder in proc.iterdir():
        if folder.name.isdecimal():
            with suppress(OSError, ValueError, IndexError):
                text = (folder / "stat").read_text(encoding="utf-8", errors="replace")
                # The name is in brackets, and may itself hold blanks and brackets.
                fields = text.rpartition(")")[2].split()
                if int(fields[_SESSION]) == session:
                    yield folder, fields
