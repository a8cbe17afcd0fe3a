"""How texts are shown: in a terminal, in a pipe and as JSON.

Every text is printed by `say` or as a `plain` cell, because other people choose node names,
messages, file names and labels. Control characters and rich's brackets in them have no effect.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import timedelta

from rich.console import Console
from rich.text import Text

from comfyline.contract.texts import clean
from comfyline.contract.v1 import responses
from comfyline.contract.v1.socket import ProgressMessage

STYLES = {
    "queued": "yellow",
    "running": "cyan",
    "canceling": "magenta",
    "succeeded": "green",
    "failed": "red",
    "canceled": "magenta",
    "expired": "red",
}
SHORTEST_ID = len("job_") + 8
MAX_SHOWN = 10_000  # characters of any text; an answer may hold megabytes


def plain(text: str, style: str = "") -> Text:
    """The text on one line, without effect on the terminal."""
    return Text(clean(shortened(text, MAX_SHOWN)), style=style)


def say(console: Console, text: str, style: str = "") -> None:
    """Print a line without wrapping it, so that ids, paths and commands can be copied."""
    console.print(plain(text, style), soft_wrap=True)


def json_line(console: Console, value: object) -> None:
    """Print a JSON value as one line, and flush it; it is neither styled nor cut off."""
    # json.dumps writes ASCII, which every locale's stdout accepts, and escapes control characters.
    console.file.write(json.dumps(value) + "\n")
    console.file.flush()


def what_runs(at: ProgressMessage | responses.ProgressDetail) -> str:
    """The node that runs and its step, such as "KSampler step 8/20"."""
    if at.step is not None and at.steps is not None:
        what: str | None = f"step {at.step}/{at.steps}"
    else:
        what = at.message
    where = at.node_type or at.node
    # The message of a node without steps is its class, which is not printed twice.
    return " ".join(dict.fromkeys(part for part in (where, what) if part))


def shortened(text: str, most: int) -> str:
    """The text, cut to so many characters; an ellipsis says so."""
    return text if len(text) <= most else text[: most - 1] + "…"


def span(time: timedelta) -> str:
    """The time in its largest unit, such as "5 min"."""
    seconds = max(0.0, time.total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def request_of(job: responses.JobView) -> str:
    """What the job was asked for, on one line."""
    prompt = job.params.get("prompt")
    return " ".join(prompt.split()) if isinstance(prompt, str) else "a workflow"


def short_ids(job_ids: Iterable[str]) -> dict[str, str]:
    """The first characters of each id: as many as tell these ids apart, and at least 8.

    Ids that were drawn within a second begin alike, because they begin with the time.
    """
    distinct = set(job_ids)
    lengths = range(SHORTEST_ID, max(map(len, distinct), default=0) + 1)
    enough = (n for n in lengths if len({each[:n] for each in distinct}) == len(distinct))
    length = next(enough, None)
    return {each: each[:length] for each in distinct}
