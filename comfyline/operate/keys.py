"""`comfyline keys`: create, list and disable API keys."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from datetime import timedelta
from typing import Annotated

import typer

from comfyline.contract.ids import KeyId, OwnerId
from comfyline.contract.limits import MAX_KEY_NAME
from comfyline.operate import wiring
from comfyline.operate.command_line import Stage, group
from comfyline.service.access.authenticate import OWNER_PATTERN, SCOPES, create_key, disable_key
from comfyline.service.access.budgets import (
    GB,
    MAX_OPEN_SOCKETS,
    SOCKETS,
    UPLOAD_BYTES,
    UPLOADS,
    Budget,
)
from comfyline.service.access.keys import ApiKey, is_key_name
from comfyline.service.access.people import HASHED_OWNER_PREFIX, OWNER_PREFIX, is_reserved
from comfyline.service.access.slots import MAX_ACTIVE_JOBS, MAX_JOBS_PER_MINUTE, Limits

app = group()

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _help(budget: Budget, what: str) -> str:
    return f"Most {what} in a minute. Without this: {budget.limit:,}."


@app.callback()
def about(command: typer.Context, stage: Stage = None) -> None:
    """Create, list and disable API keys.

    The commands need AWS credentials, and --stage or the name of the keys table in KEYS_TABLE.

    Example: comfyline keys --stage prod list
    """
    wiring.use_stage(stage, command)


@app.command()
def create(
    owner: Annotated[
        str, typer.Option(help="The owner of the jobs that the key submits and may read.")
    ],
    name: Annotated[
        str, typer.Option(help="A name for people, for example of the program that has the key.")
    ] = "",
    scope: Annotated[
        list[str] | None,
        typer.Option(
            help="What the key may do: jobs (the default), admin, or keys: make and end keys "
            "of its owner. May be repeated."
        ),
    ] = None,
    days: Annotated[
        int | None, typer.Option(min=1, help="The key expires after this many days.")
    ] = None,
    max_active_jobs: Annotated[
        int | None,
        typer.Option(
            min=1, max=MAX_ACTIVE_JOBS, help="Most jobs of the owner that have not ended."
        ),
    ] = None,
    jobs_per_minute: Annotated[
        int | None,
        typer.Option(
            min=1, max=MAX_JOBS_PER_MINUTE, help="Most jobs that the owner may post in a minute."
        ),
    ] = None,
    max_pixels: Annotated[
        int | None,
        typer.Option(min=1, help="Most pixels of a picture, in place of the service's own limit."),
    ] = None,
    max_batch_size: Annotated[
        int | None,
        typer.Option(min=1, help="Most pictures of a batch, in place of the service's own limit."),
    ] = None,
    requests_per_minute: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Most HTTP requests of the owner in a minute. Without this: half of those that "
            "the deployment accepts.",
        ),
    ] = None,
    uploads_per_minute: Annotated[
        int | None, typer.Option(min=1, help=_help(UPLOADS, "upload forms for the owner"))
    ] = None,
    upload_gb_per_day: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Most GB that the owner may upload on a day. "
            f"Without this: {UPLOAD_BYTES.limit // GB:,}.",
        ),
    ] = None,
    sockets_per_minute: Annotated[
        int | None,
        typer.Option(min=1, help=_help(SOCKETS, "sockets, and socket passes, of the owner")),
    ] = None,
    max_sockets: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Most sockets of this key that are open at once. "
            f"Without this: {MAX_OPEN_SOCKETS:,}.",
        ),
    ] = None,
    max_waits: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Most posts of the owner that wait for their job at once. Without this: a "
            "quarter of all that may. Others are answered at once.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Create a key and print it. It cannot be printed again, because only its hash is stored."""
    if not re.fullmatch(OWNER_PATTERN, owner):
        raise typer.BadParameter(
            f"{owner!r} is not a valid name. Use 1 to 64 letters, digits and the characters "
            ". _ @ -, and begin with a letter or a digit.",
            param_hint="--owner",
        )
    if is_reserved(owner):
        raise typer.BadParameter(
            f"{owner!r} is reserved for people who sign in. Use a name that does not begin with "
            f"{OWNER_PREFIX} or {HASHED_OWNER_PREFIX}; `sign_in.owners` gives people an owner.",
            param_hint="--owner",
        )
    if not is_key_name(name):
        raise typer.BadParameter(
            f"Use at most {MAX_KEY_NAME} characters, without control characters.",
            param_hint="--name",
        )
    scopes = scope or ["jobs"]
    if unknown := sorted(set(scopes) - SCOPES):
        raise typer.BadParameter(
            f"there is no scope {unknown[0]!r}. Use {' or '.join(sorted(SCOPES))}.",
            param_hint="--scope",
        )
    key, token = create_key(
        OwnerId(owner),
        scopes=scopes,
        expires_at=wiring.now() + timedelta(days=days) if days else None,
        keys=wiring.key_store(),
        clock=wiring.now,
        limits=Limits(
            max_active_jobs=max_active_jobs,
            jobs_per_minute=jobs_per_minute,
            max_pixels=max_pixels,
            max_batch_size=max_batch_size,
            requests_per_minute=requests_per_minute,
            uploads_per_minute=uploads_per_minute,
            upload_gb_per_day=upload_gb_per_day,
            sockets_per_minute=sockets_per_minute,
            max_sockets=max_sockets,
            max_waits=max_waits,
        ),
        name=name,
    )
    shown = {"key": token, "id": key.id, "owner": key.owner, "scopes": sorted(key.scopes)}
    typer.echo(json.dumps(shown) if as_json else f"{token}  ({key.owner}: {', '.join(scopes)})")


@app.command("list")
def list_keys(as_json: AsJson = False) -> None:
    """Print all keys, oldest first, without their secrets."""
    for key in wiring.key_store().all():
        shown = _shown(key)
        text = "  ".join(str(value) for value in shown.values() if value not in (None, False))
        typer.echo(json.dumps(shown) if as_json else text)


@app.command()
def disable(
    key_id: Annotated[str, typer.Argument(help="The id of the key, as `keys list` prints it.")],
    as_json: AsJson = False,
) -> None:
    """Disable a key for good.

    API Gateway may accept it for up to 30 s more, and its sockets are closed within about a minute.
    Its jobs go on: cancel those that must not run. URLs of files that were read before stay valid
    for up to 15 minutes.
    """
    key = disable_key(KeyId(key_id), keys=wiring.key_store(), clock=wiring.now)
    if key is None:
        raise typer.BadParameter(
            f"there is no key {key_id!r}. `comfyline keys list` prints the ids of all keys.",
            param_hint="KEY_ID",
        )
    typer.echo(json.dumps(_shown(key)) if as_json else f"{key.id} is disabled")


def _shown(key: ApiKey) -> dict[str, object]:
    return {
        "id": key.id,
        "name": key.name or None,
        "owner": key.owner,
        "scopes": ",".join(sorted(key.scopes)),
        "created_at": key.created_at.isoformat(),
        "expires_at": key.expires_at.isoformat() if key.expires_at else None,
        **asdict(key.limits),
        "disabled": key.disabled,
    }


if __name__ == "__main__":
    app()
