"""A post is accepted once per owner and key, and a repeated post finds the job of the first."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from comfyline.contract.ids import JobId, derived_job_id
from comfyline.service.errors import (
    IdempotencyKeyReused,
)
from comfyline.service.intake.accept import TICKET_IN_FLIGHT
from comfyline.service.jobs.finish import GiveBack
from comfyline.service.jobs.job import Job, Status
from tests.support.builders import an_owner
from tests.support.ports import meanwhile
from tests.support.world import DEFAULTS, SENT, World

LATER = TICKET_IN_FLIGHT + timedelta(milliseconds=1)


def replayed_tickets(world: World) -> list[JobId]:
    """The jobs of the tickets that wait after the post with the key `once` was repeated."""
    world.clock.advance(LATER)
    assert world.submit(key="once").replayed
    return [ticket.job_id for ticket in world.tickets()]


class TestReplay:
    def test_answers_with_the_first_job_and_makes_no_other(self) -> None:
        world = World()
        first = world.submit(key="once").job
        world.clock.advance(1)
        again = world.submit(dict(reversed(list(SENT.items()))), key="once")
        assert (again.job, again.replayed) == (first, True)
        assert world.listed() == [first]
        assert len(world.tickets()) == 1

    def test_draws_the_same_seed(self) -> None:
        world = World()
        sent = {"prompt": "a red fox"}
        seeds = [
            world.record(world.submit(sent, key="once").job.id).params.params["seed"]
            for _ in range(2)
        ]
        assert seeds[0] == seeds[1]

    @pytest.mark.parametrize("sent", [{**SENT, "seed": 43}, {**SENT, "priority": "low"}])
    def test_with_another_body_is_refused_and_changes_nothing(
        self, sent: Mapping[str, Any]
    ) -> None:
        world = World()
        job = world.submit(key="once").job
        world.clock.advance(LATER)
        with pytest.raises(IdempotencyKeyReused):
            world.submit(sent, key="once")
        assert world.row(job.id) == job
        assert world.store.graph(job)["5"]["inputs"]["seed"] == SENT["seed"]
        assert len(world.tickets()) == 1

    def test_two_owners_may_use_the_same_key(self) -> None:
        world, other = World(), an_owner()
        mine = world.submit(key="once").job
        theirs = world.submit({"prompt": "a blue whale"}, key="once", owner=other)
        assert (theirs.replayed, theirs.job.owner) == (False, other)
        assert (mine.id, theirs.job.id) == (
            derived_job_id(world.owner, "once"),
            derived_job_id(other, "once"),
        )

    def test_answers_with_an_ended_job_until_its_retention_is_over(self) -> None:
        world = World()
        world.submit(key="once")
        done = world.succeeded()
        world.clock.advance(DEFAULTS.retention - timedelta.resolution)
        again = world.submit(key="once")
        assert (again.job, again.replayed, world.tickets()) == (done, True, [])

    def test_ends_a_job_that_waited_too_long(self) -> None:
        world = World()
        world.submit(key="once")
        world.clock.advance(DEFAULTS.start_deadline)
        again = world.submit(key="once")
        assert again.job == world.row(again.job.id)
        assert again.job.status is Status.EXPIRED

    def test_of_an_older_job_that_is_unclaimed_sends_its_ticket_again(self) -> None:
        world = World()
        world.submit(key="once")
        assert len(replayed_tickets(world)) == 2

    def test_of_a_claimed_or_ended_job_sends_no_ticket(self) -> None:
        world = World()
        world.submit(key="once")
        job, ticket = world.claimed()
        assert replayed_tickets(world) == []
        world.finisher().end(job, ticket, GiveBack())
        assert replayed_tickets(world) == [job.id]  # its own, given back


def an_expired_record(world: World) -> Job:
    """The ended job of the key `once`: its retention is over, and it has not been removed yet."""
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

    def test_the_slower_of_two_posts_is_a_replay_of_the_faster(self) -> None:
        world = World()
        an_expired_record(world)
        faster: list[Job] = []

        def another_post() -> None:
            world.clock.advance(1)
            faster.append(world.submit(key="once").job)

        accepted = world.submit(key="once", store=meanwhile(world.store, "replace", another_post))
        assert (accepted.job, accepted.replayed) == (faster[0], True)

    def test_it_succeeds_if_the_sweeper_removes_the_old_record_meanwhile(self) -> None:
        world = World()
        old = an_expired_record(world)
        store = meanwhile(world.store, "replace", world.sweep)
        accepted = world.submit(key="once", store=store)
        assert (accepted.job, accepted.replayed) == (world.row(old.id), False)
        assert world.store.graph(accepted.job)

    def test_a_replay_of_an_unclaimed_job_sends_its_ticket_again(self) -> None:
        world = World()
        old = an_expired_record(world)
        world.submit(key="once")
        assert replayed_tickets(world) == [old.id, old.id]

    def test_a_replay_of_a_claimed_job_sends_no_ticket(self) -> None:
        world = World()
        an_expired_record(world)
        world.submit(key="once")
        world.claimed()
        assert replayed_tickets(world) == []
