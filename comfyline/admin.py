"""What an operator does with AWS credentials: `python -m comfyline.admin keys create …`.

The composition root of the administration; the client's CLI never imports it.
"""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated

import boto3
import typer

from comfyline.aws.job_queues import SqsDeadLetters, SqsJobQueue
from comfyline.aws.jobs_table import DynamoJobStore
from comfyline.aws.keys_table import DynamoKeyStore
from comfyline.domain.ids import KeyId, OwnerId
from comfyline.domain.job import Priority
from comfyline.ports import ApiKey, Limits
from comfyline.settings import AuthorizeSettings, QueueSettings, RedriveSettings
from comfyline.usecases.authenticate import OWNER_PATTERN, SCOPES, create_key, disable_key
from comfyline.usecases.redrive import redrive

app = typer.Typer(no_args_is_help=True, help="Administer a deployment, with AWS credentials.")
keys = typer.Typer(no_args_is_help=True, help="API keys. The table is named by KEYS_TABLE.")
admin = typer.Typer(no_args_is_help=True, help="Pause, drain and redrive a deployment.")
app.add_typer(keys, name="keys")
app.add_typer(admin, name="admin")

DRAIN_POLL_SECONDS = 5.0  # SQS's own counts lag by more

Sockets = Annotated[bool, typer.Option("--sockets", help="New sockets for live progress, too.")]
AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]


@app.callback()
def main() -> None:
    """Administer a deployment, with AWS credentials."""


@admin.callback()
def about_admin() -> None:
    """Pause, drain and redrive a deployment."""


@keys.callback()
def about_keys() -> None:
    """API keys. The table is named by KEYS_TABLE."""


@keys.command()
def create(
    owner: Annotated[str, typer.Option(help="Whose jobs the key submits and sees.")],
    scope: Annotated[list[str] | None, typer.Option(help="jobs, admin; jobs by default.")] = None,
    days: Annotated[int | None, typer.Option(min=1, help="Expires after so many days.")] = None,
    max_active_jobs: Annotated[
        int | None, typer.Option(min=1, help="Jobs of the owner that have not ended.")
    ] = None,
    jobs_per_minute: Annotated[int | None, typer.Option(min=1, help="Posts a minute.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and show it, this once: only a hash of it is kept."""
    if not re.fullmatch(OWNER_PATTERN, owner):
        raise typer.BadParameter("letters, digits and ._@-, at most 64", param_hint="--owner")
    scopes = scope or ["jobs"]
    unknown = sorted(set(scopes) - SCOPES)
    if unknown:
        raise typer.BadParameter(f"unknown scope {unknown[0]}", param_hint="--scope")
    expires_at = _now() + timedelta(days=days) if days else None
    key, token = create_key(
        OwnerId(owner),
        scopes=scopes,
        expires_at=expires_at,
        keys=_store(),
        clock=_now,
        limits=Limits(max_active_jobs, jobs_per_minute),
    )
    shown = {"key": token, "id": key.id, "owner": key.owner, "scopes": sorted(key.scopes)}
    typer.echo(json.dumps(shown) if as_json else f"{token}  ({key.owner}: {', '.join(scopes)})")


@keys.command("list")
def list_keys(as_json: AsJson = False) -> None:
    """Show every key, oldest first; no secret is kept that could be shown."""
    for key in _store().all():
        shown = _shown(key)
        text = "  ".join(str(value) for value in shown.values() if value not in (None, False))
        typer.echo(json.dumps(shown) if as_json else text)


@keys.command()
def disable(key_id: str, as_json: AsJson = False) -> None:
    """Make a key open nothing; authorizers may remember it for 30 s."""
    key = disable_key(KeyId(key_id), keys=_store())
    if key is None:
        raise typer.BadParameter(f"there is no key {key_id}", param_hint="KEY_ID")
    typer.echo(json.dumps(_shown(key)) if as_json else f"{key.id} is disabled")


@admin.command()
def pause(sockets: Sockets = False) -> None:
    """Accept no new jobs; those that are in go on. Authorizers may remember it for 30 s."""
    _switch(jobs_enabled=False, sockets=sockets)
    typer.echo("paused")


@admin.command()
def resume(sockets: Sockets = False) -> None:
    """Accept jobs again."""
    _switch(jobs_enabled=True, sockets=sockets)
    typer.echo("resumed")


@admin.command()
def drain(
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait at most.")] = 3600.0,
) -> None:
    """Pause, then wait until no ticket waits and no worker holds one."""
    _switch(jobs_enabled=False)
    queue = _queue(QueueSettings.from_environment(os.environ))
    give_up_at = time.monotonic() + timeout
    while left := sum(queue.depth(lane) + queue.in_flight(lane) for lane in Priority):
        typer.echo(f"{left} left")
        if time.monotonic() >= give_up_at:
            raise typer.Exit(1)
        time.sleep(DRAIN_POLL_SECONDS)
    typer.echo("drained")


@admin.command("redrive")
def redrive_dead_letters(as_json: AsJson = False) -> None:
    """Send the tickets of live jobs again that ended in the dead-letter queue."""
    settings = RedriveSettings.from_environment(os.environ)
    done = redrive(
        dead=SqsDeadLetters(boto3.client("sqs"), settings.dead_letter_queue_url),
        store=DynamoJobStore(boto3.client("dynamodb"), settings.jobs_table),
        queue=_queue(settings),
    )
    typer.echo(
        json.dumps(done) if as_json else ", ".join(f"{n} {what}" for what, n in done.items())
    )


def _shown(key: ApiKey) -> dict[str, object]:
    return {
        "id": key.id,
        "owner": key.owner,
        "scopes": ",".join(sorted(key.scopes)),
        "created_at": key.created_at.isoformat(),
        "expires_at": key.expires_at.isoformat() if key.expires_at else None,
        "max_active_jobs": key.limits.max_active_jobs,
        "jobs_per_minute": key.limits.jobs_per_minute,
        "disabled": key.disabled,
    }


def _switch(*, jobs_enabled: bool, sockets: bool = False) -> None:
    store = _store()
    flags = replace(store.flags(), jobs_enabled=jobs_enabled)
    store.put_flags(replace(flags, websocket_enabled=jobs_enabled) if sockets else flags)


def _queue(urls: QueueSettings) -> SqsJobQueue:
    by_priority = {
        Priority.HIGH: urls.high_queue_url,
        Priority.NORMAL: urls.normal_queue_url,
        Priority.LOW: urls.low_queue_url,
    }
    return SqsJobQueue(boto3.client("sqs"), by_priority)


def _store() -> DynamoKeyStore:
    settings = AuthorizeSettings.from_environment(os.environ)
    return DynamoKeyStore(boto3.client("dynamodb"), settings.keys_table)


def _now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    app()
