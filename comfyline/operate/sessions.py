"""`comfyline admin sessions`: sign owners and people out of the console."""

from __future__ import annotations

from typing import Annotated

import typer

from comfyline.contract.ids import KeyId, OwnerId
from comfyline.operate import wiring
from comfyline.operate.command_line import group
from comfyline.service.access.sessions import end_sessions

app = group()


@app.callback()
def about() -> None:
    """End the sessions of the console."""


@app.command()
def end(
    owner: Annotated[str, typer.Argument(help="The owner, or the person, whose sessions end.")],
    key: Annotated[
        str | None,
        typer.Option(
            help="Only the sessions of this key of the owner. A person's begins with sso-."
        ),
    ] = None,
) -> None:
    """End all sessions of an owner or a person.

    Cookies are refused at once, requests within 30 s, and sockets are closed within about a minute.
    Keys stay valid, and people can sign in again: first disable the key, or block the person at the
    issuer.
    """
    key_id = None if key is None else KeyId(key)
    ended = end_sessions(OwnerId(owner), key_id, sessions=wiring.session_store(), clock=wiring.now)
    typer.echo(f"{ended} ended")
