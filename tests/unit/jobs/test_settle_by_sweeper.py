"""The sweeper settles the jobs that settle_jobs has missed, and removes no job before that."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from comfyline.service.errors import Unavailable
from comfyline.service.jobs.cancel import cancel
from comfyline.service.jobs.due import SETTLE_DELAY
from comfyline.service.jobs.finish import Succeed
from comfyline.service.jobs.job import Job
from comfyline.service.jobs.sweep import SETTLE_PATIENCE
from comfyline.service.ledger.store import Usage
from tests.support.crashes import Process, every_crash
from tests.support.world import DEFAULTS
from tests.unit.jobs.settling import SECOND, SettlingWorld, with_broken


def test_the_sweeper_settles_a_job_that_settle_jobs_has_missed() -> None:
    world = SettlingWorld()
    job = world.ended()
    world.clock.advance(SETTLE_PATIENCE)
    assert world.sweep() == {"Settled": 1}
    assert world.is_settled(job)
    assert world.sweep() == {}


def test_the_sweeper_leaves_a_recent_end_to_settle_jobs() -> None:
    world = SettlingWorld()
    world.submit()
    job, ticket = world.started()
    world.clock.advance(DEFAULTS.execution_timeout)
    world.store.renew(job, world.clock() + SECOND)
    job = world.finisher().end(job, ticket, Succeed(cached=False, nodes_cached=0))
    assert job.due_at is not None
    assert job.due_at <= world.clock()
    assert world.sweep() == {}
    assert world.row(job.id) == job


def test_a_job_that_cannot_be_settled_is_retried_every_hour_and_stops_no_other() -> None:
    world = SettlingWorld()
    bad = world.ended()
    world.clock.advance(SETTLE_DELAY)
    broken = with_broken(world.settlement(), "count", RuntimeError("a bug"))
    assert world.sweep(settlement=broken) == {"SettlementFailed": 1}
    lost = world.submit({"prompt": "another"}).job
    world.tickets()
    world.clock.advance(timedelta(minutes=1))
    assert world.sweep(settlement=broken) == {"TicketResent": 1}
    assert world.row(lost.id).ticket_sends == 1
    world.clock.advance(SETTLE_DELAY - timedelta(minutes=1))
    cancel(lost.id, world.owner, store=world.store, clock=world.clock)
    assert world.sweep()["Settled"] == 1
    assert world.is_settled(bad)


def test_a_job_is_not_removed_before_it_is_counted() -> None:
    world = SettlingWorld()
    job = world.ended()
    broken = with_broken(world.settlement(), "count", Unavailable("throttled"))
    for _ in range(3):
        world.clock.advance(DEFAULTS.retention)
        assert world.sweep(settlement=broken) == {"SettlementFailed": 1}
    assert world.row(job.id).settle_pending
    world.clock.advance(SETTLE_DELAY)
    assert world.sweep() == {"Settled": 1}
    world.store.expire(world.clock())
    assert world.store.get(job.id) is None
    assert world.ledger.usage(world.owner) == Usage(1.5, 1)


def test_jobs_that_older_code_has_ended_are_removed() -> None:
    world = SettlingWorld()
    job = world.ended()
    world.store.save(job, replace(job, settle_pending=False, due_at=job.expires_at))
    world.clock.advance(DEFAULTS.retention)
    assert world.sweep() == {"Removed": 1}
    assert world.ledger.usage(world.owner) == Usage()


def test_after_a_crash_at_any_call_the_next_sweep_settles_the_job() -> None:
    worlds: list[tuple[SettlingWorld, Job]] = []

    def run(process: Process) -> None:
        world = SettlingWorld()
        worlds.append((world, world.ended()))
        world.clock.advance(SETTLE_DELAY)
        settlement = world.settlement(
            store=process.using(world.store),
            owners=process.using(world.owners),
            ledger=process.using(world.ledger),
        )
        world.sweep(store=process.using(world.store), settlement=settlement)

    for _ in every_crash(run):
        world, job = worlds[-1]
        world.sweep()
        assert world.is_settled(job)


def test_a_delivery_after_the_removal_changes_nothing() -> None:
    world = SettlingWorld()
    job = world.ended()
    world.settle(job.id)
    world.clock.advance(DEFAULTS.retention)
    world.store.expire(world.clock())
    assert world.settlement().settle([job]) == []
    assert world.store.get(job.id) is None
    assert world.ledger.usage(world.owner) == Usage(1.5, 1)
