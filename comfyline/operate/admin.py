"""What an operator does with AWS credentials: `python -m comfyline.operate.admin keys create …`.

The composition root of the administration; the client's CLI never imports it.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import boto3
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from comfyline.adapters.aws.access.keys import DynamoKeyStore
from comfyline.adapters.aws.jobs.table import DynamoJobStore
from comfyline.adapters.aws.live.sockets import ApiGatewaySockets, callback_url
from comfyline.adapters.aws.queue import SqsDeadLetters, SqsJobQueue
from comfyline.contract.ids import KeyId, OwnerId
from comfyline.operate.audit import DEFAULT_TIMES, Report, audit
from comfyline.operate.inventory import Inventory, Places
from comfyline.service.access.authenticate import OWNER_PATTERN, SCOPES, create_key, disable_key
from comfyline.service.access.keys import ApiKey
from comfyline.service.access.slots import Limits
from comfyline.service.jobs.job import Priority
from comfyline.service.jobs.redrive import redrive
from comfyline.service.settings import (
    AuditSettings,
    KeysTable,
    QueueSettings,
    RedriveSettings,
)

app = typer.Typer(no_args_is_help=True, help="Administer a deployment, with AWS credentials.")
keys = typer.Typer(no_args_is_help=True, help="API keys. The table is named by KEYS_TABLE.")
admin = typer.Typer(no_args_is_help=True, help="Pause, drain, redrive and audit a deployment.")
app.add_typer(keys, name="keys")
app.add_typer(admin, name="admin")

AUDIT_POLL_SECONDS = 3.0
DRAIN_POLL_SECONDS = 5.0  # SQS's own counts lag by more

Sockets = Annotated[bool, typer.Option("--sockets", help="New sockets for live progress, too.")]
AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]


@app.callback()
def main() -> None:
    """Administer a deployment, with AWS credentials."""


@admin.callback()
def about_admin() -> None:
    """Pause, drain, redrive and audit a deployment."""


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
        clock=_now,
    )
    typer.echo(
        json.dumps(done) if as_json else ", ".join(f"{n} {what}" for what, n in done.items())
    )


@admin.command("audit")
def audit_deployment(
    grace: Annotated[
        float, typer.Option(min=0, help="Seconds that a change may be under way.")
    ] = DEFAULT_TIMES.grace.total_seconds(),
    wait: Annotated[
        float, typer.Option(min=0, help="Look again until all is well, so many seconds at most.")
    ] = 0.0,
    strict: Annotated[
        bool, typer.Option("--strict", help="What would go by itself is a finding, too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check all that the deployment holds against what must be true of it; 1 if it is not.

    It reads every table and lists the bucket, and changes nothing.
    """
    inventory, give_up_at = _inventory(), time.monotonic() + wait
    times = replace(DEFAULT_TIMES, grace=timedelta(seconds=grace))
    while not (report := audit(inventory.taken(), times)).is_clean(strict=strict):
        if time.monotonic() >= give_up_at:
            break
        time.sleep(AUDIT_POLL_SECONDS)
    if as_json:
        typer.echo(json.dumps(asdict(report)))
    else:
        _print_report(report)
    raise typer.Exit(not report.is_clean(strict=strict))


def _print_report(report: Report) -> None:
    console = Console()
    table = Table("what", "which", "finding")
    for finding in (*report.findings, *report.leftovers):
        table.add_row(finding.kind, escape(finding.subject), escape(str(finding)))
    if table.row_count:
        console.print(table)
    console.print(", ".join(f"{n} {what}" for what, n in report.counts.items()), soft_wrap=True)
    found, left = len(report.findings), len(report.leftovers)
    console.print(f"{found} findings; {left} leftovers, which go by themselves", soft_wrap=True)


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
    return SqsJobQueue(boto3.client("sqs"), urls.lanes)


def _inventory() -> Inventory:
    settings = AuditSettings.from_environment(os.environ)
    client: Callable[..., Any] = boto3.Session().client
    dynamodb = client("dynamodb")
    stage = settings.websocket_api_id, settings.websocket_stage, dynamodb.meta.region_name
    return Inventory(
        dynamodb=dynamodb,
        s3=client("s3"),
        sqs=client("sqs"),
        sockets=ApiGatewaySockets(
            client("apigatewaymanagementapi", endpoint_url=callback_url(*stage))
        ),
        places=Places(
            jobs_table=settings.jobs_table,
            owners_table=settings.owners_table,
            connections_table=settings.connections_table,
            bucket=settings.artifacts_bucket,
            lanes=tuple(settings.lanes.values()),
            dead_letters=settings.dead_letter_queue_url,
        ),
        clock=_now,
    )


def _store() -> DynamoKeyStore:
    settings = KeysTable.from_environment(os.environ)
    return DynamoKeyStore(boto3.client("dynamodb"), settings.keys_table)


def _now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    app()
