"""`comfyline admin`: pause, drain, redrive and audit a deployment, and what else operators do."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from comfyline.contract.texts import clean
from comfyline.operate import preflight, quarantine, sessions, wiring
from comfyline.operate.audit.check import audit
from comfyline.operate.audit.findings import Report
from comfyline.operate.audit.source import GRACE, LEASE, Terms
from comfyline.operate.command_line import Stage, group
from comfyline.service.jobs.redrive import redrive
from comfyline.service.queue.lanes import Priority

app = group()
app.command("preflight")(preflight.command)
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(sessions.app, name="sessions")

AUDIT_POLL_SECONDS = 3.0
DRAIN_POLL_SECONDS = 5.0  # a shorter interval is no use, because SQS's counts are older than that

Sockets = Annotated[
    bool, typer.Option("--sockets", help="Do the same with new WebSocket connections.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.callback()
def about(command: typer.Context, stage: Stage = None) -> None:
    """Check an account before a deployment; pause, resume, drain, redrive and audit a deployment.

    The commands need AWS credentials. Those on a deployment also need --stage, or the names of
    tables, bucket and queues in environment variables.

    Example: comfyline admin --stage prod audit
    """
    wiring.use_stage(stage, command)


@app.command()
def pause(sockets: Sockets = False) -> None:
    """Refuse new jobs. Accepted jobs go on. API Gateway may accept jobs for up to 30 s more."""
    _switch(jobs_enabled=False, sockets=sockets)
    typer.echo("paused")


@app.command()
def resume(sockets: Sockets = False) -> None:
    """Accept new jobs again."""
    _switch(jobs_enabled=True, sockets=sockets)
    typer.echo("resumed")


@app.command()
def drain(
    timeout: Annotated[
        float, typer.Option(min=0, help="Give up after this many seconds, with exit code 1.")
    ] = 3600.0,
) -> None:
    """Pause, then wait until no ticket is left: neither in a lane nor with a worker."""
    _switch(jobs_enabled=False)
    queue = wiring.job_queue()
    give_up_at = time.monotonic() + timeout
    while left := sum(queue.depth(lane) + queue.in_flight(lane) for lane in Priority):
        typer.echo(f"{left} left")
        if time.monotonic() >= give_up_at:
            raise typer.Exit(1)
        time.sleep(DRAIN_POLL_SECONDS)
    typer.echo("drained")


@app.command("redrive")
def redrive_dead_letters(as_json: AsJson = False) -> None:
    """Empty the dead-letter queue. Each job there that has not ended gets a new ticket."""
    done = redrive(
        dead=wiring.dead_letters(),
        store=wiring.job_store(),
        queue=wiring.job_queue(),
        clock=wiring.now,
    )
    counts = ", ".join(f"{number} {outcome}" for outcome, number in done.items())
    typer.echo(json.dumps(done) if as_json else counts or "the dead-letter queue is empty")


@app.command("edge-secret")
def make_edge_secret() -> None:
    """Make the next secret by which the APIs know the edge, and say how to deploy it.

    It makes none while the one that it has made before waits for its deployment.
    """
    version, is_new = wiring.edge_secret().next()
    made = "made" if is_new else "exists, and is not deployed yet"
    typer.echo(f"version {version} {made}: set edge.secret_version = {version}, then deploy all")


@app.command("audit")
def audit_deployment(
    grace: Annotated[
        float, typer.Option(min=0, help="Do not judge items that changed within this many seconds.")
    ] = GRACE.total_seconds(),
    wait: Annotated[
        float,
        typer.Option(min=0, help="Repeat the audit for up to this many seconds until it is clean."),
    ] = 0.0,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 if there are leftovers, too.")
    ] = False,
    lease: Annotated[
        float, typer.Option(min=1, help="`worker.lease_seconds` of the deployment.")
    ] = LEASE.total_seconds(),
    with_bytes: Annotated[
        bool,
        typer.Option("--bytes", help="Read every listed file, and compare its SHA-256."),
    ] = False,
    fix: Annotated[
        bool,
        typer.Option(
            "--fix",
            help="Apply the events that are due, and remove what nothing refers to. Then audit "
            "again.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check everything that the deployment holds. The exit code is 1 if there are findings.

    The audit reads every table, lists the bucket and counts the tickets. It changes nothing unless
    --fix is given.
    """
    inventory, give_up_at = wiring.inventory(), time.monotonic() + wait
    spans = {"grace": timedelta(seconds=grace), "lease": timedelta(seconds=lease)}

    def audited() -> Report:
        terms = Terms(clock=wiring.now, began_at=wiring.now(), **spans)
        return audit(inventory, terms, with_bytes=with_bytes)

    while not (report := audited()).is_clean(strict=strict):
        if time.monotonic() >= give_up_at:
            break
        time.sleep(AUDIT_POLL_SECONDS)
    if fix and (fixed := wiring.fixer().fix([*report.findings, *report.leftovers])):
        report = replace(audited(), fixed=fixed)
    if as_json:
        typer.echo(json.dumps(asdict(report)))
    else:
        _print_report(report)
    raise typer.Exit(not report.is_clean(strict=strict))


def _print_report(report: Report) -> None:
    console = Console()
    for mended in report.fixed:
        console.print(Text(clean(f"fixed: {mended.kind} {mended.subject} {mended.message}")))
    table = Table("kind", "id or key", "finding")
    for finding in (*report.findings, *report.leftovers):
        table.add_row(finding.kind, Text(clean(finding.subject)), Text(clean(str(finding))))
    if table.row_count:
        console.print(table)
    counts = ", ".join(f"{number} {name}" for name, number in report.counts.items())
    console.print(counts, soft_wrap=True)
    found = len(report.findings) + report.more_findings
    left = len(report.leftovers) + report.more_leftovers
    summary = f"{found} findings; {left} leftovers, which are removed without your help"
    console.print(summary, soft_wrap=True)


def _switch(*, jobs_enabled: bool, sockets: bool = False) -> None:
    names = ("jobs_enabled", "websocket_enabled") if sockets else ("jobs_enabled",)
    wiring.key_store().switch(dict.fromkeys(names, jobs_enabled), wiring.now())


if __name__ == "__main__":
    app()
