"""What an operator does with AWS credentials: `python -m comfyline.admin keys create …`.

The composition root of the administration; the client's CLI never imports it.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from typing import Annotated

import boto3
import typer

from comfyline.aws.keys_table import DynamoKeyStore
from comfyline.domain.ids import OwnerId
from comfyline.settings import AuthorizeSettings
from comfyline.usecases.authenticate import SCOPES, create_key

app = typer.Typer(no_args_is_help=True, help="Administer a deployment, with AWS credentials.")
keys = typer.Typer(no_args_is_help=True, help="API keys. The table is named by KEYS_TABLE.")
app.add_typer(keys, name="keys")


@app.callback()
def main() -> None:
    """Administer a deployment, with AWS credentials."""


@keys.callback()
def about_keys() -> None:
    """API keys. The table is named by KEYS_TABLE."""


@keys.command()
def create(
    owner: Annotated[str, typer.Option(help="Whose jobs the key submits and sees.")],
    scope: Annotated[list[str] | None, typer.Option(help="jobs, admin; jobs by default.")] = None,
    days: Annotated[int | None, typer.Option(min=1, help="Expires after so many days.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Make a key and show it, this once: only a hash of it is kept."""
    scopes = scope or ["jobs"]
    unknown = sorted(set(scopes) - SCOPES)
    if unknown:
        raise typer.BadParameter(f"unknown scope {unknown[0]}", param_hint="--scope")
    expires_at = _now() + timedelta(days=days) if days else None
    key, token = create_key(
        OwnerId(owner), scopes=scopes, expires_at=expires_at, keys=_store(), clock=_now
    )
    shown = {"key": token, "id": key.id, "owner": key.owner, "scopes": sorted(key.scopes)}
    typer.echo(json.dumps(shown) if as_json else f"{token}  ({key.owner}: {', '.join(scopes)})")


def _store() -> DynamoKeyStore:
    settings = AuthorizeSettings.from_environment(os.environ)
    return DynamoKeyStore(boto3.client("dynamodb"), settings.keys_table)


def _now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    app()
