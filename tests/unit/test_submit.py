"""A post is accepted exactly once per (owner, key), and a retry finds what the first has made."""

from __future__ import annotations

from datetime import timedelta

from comfyline.domain.ids import JobId
from comfyline.domain.job import Job
from comfyline.usecases.submit import TICKET_IN_FLIGHT
from tests.support.world import DEFAULTS, World, meanwhile

LATER = TICKET_IN_FLIGHT + timedelta(milliseconds=1)


def an_expired_record(world: World) -> Job:
    """Of the key `once`: it ran, its retention is over and nobody has removed it."""
    world.submit(key="once")
    job = world.succeeded()
    world.clock.advance(DEFAULTS.retention)
    return job


class TestTakeOver:
    def test_the_answer_is_the_job_as_stored(self) -> None:
        world = World()
        old = an_expired_record(world)
        accepted = world.submit(key="once")
        assert accepted.job == world.row(old.id)
        assert (accepted.replayed, accepted.job.version) == (False, old.version + 1)
        assert [ticket.job_id for ticket in world.tickets()] == [old.id]

    def test_the_slower_of_two_replays_the_faster(self) -> None:
        world = World()
        an_expired_record(world)
        faster: list[Job] = []

        def another_post() -> None:
            world.clock.advance(1)
            faster.append(world.submit(key="once").job)

        accepted = world.submit(key="once", store=meanwhile(world.store, "replace", another_post))
        assert (accepted.job, accepted.replayed) == (faster[0], True)

    def test_a_sweeper_that_removes_the_old_record_meanwhile_changes_nothing(self) -> None:
        world = World()
        old = an_expired_record(world)
        store = meanwhile(world.store, "replace", world.sweep)
        accepted = world.submit(key="once", store=store)
        assert (accepted.job, accepted.replayed) == (world.row(old.id), False)
        assert world.store.graph(accepted.job)

    def test_a_replay_sends_the_ticket_of_one_that_was_never_claimed_again(self) -> None:
        world = World()
        old = an_expired_record(world)
        world.submit(key="once")
        assert replayed_tickets(world) == [old.id, old.id]

    def test_a_replay_leaves_the_ticket_of_one_that_was_claimed_alone(self) -> None:
        world = World()
        an_expired_record(world)
        world.submit(key="once")
        world.claimed()
        assert replayed_tickets(world) == []


def replayed_tickets(world: World) -> list[JobId]:
    """The tickets that wait once a post with the key `once` has been repeated."""
    world.clock.advance(LATER)
    assert world.submit(key="once").replayed
    return [ticket.job_id for ticket in world.tickets()]
