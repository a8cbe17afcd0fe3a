"""`comfyline admin quarantine`: look at, release and drop what was set aside."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from comfyline.contract.texts import clean
from comfyline.operate import wiring
from comfyline.operate.command_line import group
from comfyline.operate.set_aside import SetAside

app = group()

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.callback()
def about() -> None:
    """Look at, release or drop rows and messages that were set aside.

    A row or message is set aside if this release cannot read it, or if handling it fails again and
    again.
    """


@app.command("list")
def list_all(as_json: AsJson = False) -> None:
    """Print the rows in quarantine, and the messages of the parking and the dead-letter queue.

    Messages that a function has received lately are hidden until it tries again, and are only
    counted.
    """
    quarantine = wiring.quarantine()
    hidden, found = quarantine.hidden(), quarantine.all()
    if as_json:
        typer.echo(json.dumps({"set_aside": [asdict(each) for each in found], "hidden": hidden}))
        return
    _print(found)
    typer.echo(f"{len(found)} set aside; {hidden} messages are hidden until their next try")


@app.command()
def release(
    ids: Annotated[
        list[str] | None, typer.Argument(help="Ids of jobs or messages, as `list` prints them.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Release everything that can be released.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Read rows again and let the sweeper go on with them; deliver messages again now.

    A row that this release still cannot read stays in quarantine, and the exit code is 1. Correct
    the row, or deploy the release that wrote it.
    """
    if bool(ids) == everything:
        raise typer.BadParameter("name the ids, or give --all.", param_hint="IDS")
    done, left = wiring.quarantine().release(None if everything else set(ids or ()))
    _report("released", done, left, ids or (), as_json=as_json)


@app.command()
def drop(
    ids: Annotated[list[str], typer.Argument(help="Ids of jobs or messages.")],
    as_json: AsJson = False,
) -> None:
    """Delete rows with their requests and lists, or messages, for good.

    The job of a dropped row is gone: clients get 404. Its files stay until the bucket's lifecycle
    rule removes them, and the sweeper frees its slot.
    """
    _report("dropped", wiring.quarantine().drop(set(ids)), (), ids, as_json=as_json)


def _report(
    verb: str,
    done: Sequence[SetAside],
    left: Sequence[SetAside],
    ids: Sequence[str],
    *,
    as_json: bool,
) -> None:
    missing = sorted({*ids} - {each.id for each in (*done, *left)})
    if as_json:
        lists = {verb: done, "left": left}
        shown = {name: [asdict(each) for each in found] for name, found in lists.items()}
        typer.echo(json.dumps({**shown, "missing": missing}))
    else:
        for each in done:
            typer.echo(clean(f"{verb}: {each.kind} {each.id}"))
        for each in left:
            typer.echo(clean(f"still unreadable: {each.kind} {each.id}: {each.reason}"))
        for id_ in missing:
            typer.echo(clean(f"not found: {id_}. It may be hidden until its next try."))
        if not (done or left or missing):
            typer.echo("nothing is set aside")
    raise typer.Exit(bool(left or missing))


def _print(found: Sequence[SetAside]) -> None:
    if not found:
        return
    table = Table("kind", "id", "where", "reason")
    for each in found:
        cells = (each.kind, each.id, each.place, each.reason)
        table.add_row(*(Text(clean(cell)) for cell in cells))
    Console().print(table)
