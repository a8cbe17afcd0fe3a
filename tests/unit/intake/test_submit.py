"""A post is accepted once per owner and key, and a repeated post finds the job of the first."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from comfyline.api.v1 import views
from comfyline.contract.ids import JobId, derived_job_id
from comfyline.contract.limits import MAX_BATCH_SIZE, MAX_SEED
from comfyline.service.errors import (
    IdempotencyKeyReused,
    InvalidRequest,
    JobNotFound,
    RequestTooLarge,
    Unavailable,
)
from comfyline.service.graphs.catalogue import NEVER_OUTPUTS
from comfyline.service.intake.accept import TICKET_IN_FLIGHT
from comfyline.service.jobs.cancel import cancel
from comfyline.service.jobs.finish import Fail, GiveBack, Succeed
from comfyline.service.jobs.job import Job, JobError, Status
from comfyline.service.jobs.report import report_started
from comfyline.service.queue.lanes import Priority
from functions._http import Request
from tests.support.builders import a_graph, an_owner
from tests.support.ports import meanwhile, raising
from tests.support.world import DEFAULTS, SENT, World

LATER = TICKET_IN_FLIGHT + timedelta(milliseconds=1)


def listed(world: World) -> list[Job]:
    """Every job that the world's owner has."""
    records = world.store.page(world.owner, status=None, limit=100, after=None)
    return [record.job for record in records]


class TestNewJob:
    def test_it_is_stored_ticketed_and_answered(self) -> None:
        world = World()
        accepted = world.submit()
        assert (accepted.job, accepted.replayed) == (world.row(accepted.job.id), False)
        assert [ticket.job_id for ticket in world.tickets()] == [accepted.job.id]
        assert accepted.job.owner == world.owner
        assert accepted.job.request_id == "request-1"

    def test_options_of_the_request_are_kept_and_others_are_the_deployments(self) -> None:
        world = World()
        job = world.submit({"prompt": "a red fox", "steps": 7, "metadata": {"for": "mum"}}).job
        asked = world.record(job.id).params
        assert asked.metadata == {"for": "mum"}
        expected = {"prompt": "a red fox", "steps": 7, "width": 512, "model": DEFAULTS.checkpoint}
        assert expected.items() <= asked.params.items()
        graph = world.store.graph(job)
        assert graph["1"]["inputs"] == {"ckpt_name": DEFAULTS.checkpoint}
        assert (graph["5"]["inputs"]["steps"], graph["5"]["inputs"]["cfg"]) == (7, 7.0)

    def test_a_seed_is_drawn_and_shown_if_the_request_has_none(self) -> None:
        world = World()
        jobs = [world.submit({"prompt": "a red fox"}).job for _ in range(2)]
        seeds = [world.record(job.id).params.params["seed"] for job in jobs]
        assert seeds == [world.store.graph(job)["5"]["inputs"]["seed"] for job in jobs]
        assert seeds[0] != seeds[1]
        assert all(0 <= seed <= MAX_SEED for seed in seeds)

    def test_a_workflow_runs_as_it_was_sent(self) -> None:
        world = World()
        job = world.submit({"workflow": a_graph("a blue whale")}).job
        assert world.store.graph(job) == a_graph("a blue whale")

    @pytest.mark.parametrize("priority", Priority)
    def test_its_ticket_waits_in_the_lane_that_was_asked(self, priority: Priority) -> None:
        world = World()
        job = world.submit({"prompt": "a red fox", "priority": priority.value}).job
        found = {lane: [ticket.job_id for ticket in world.tickets(lane)] for lane in Priority}
        assert found == {lane: [job.id] if lane is priority else [] for lane in Priority}

    def test_its_time_limits_are_the_deployments(self) -> None:
        world = World()
        job = world.submit().job
        assert job.start_deadline - job.queued_at == DEFAULTS.start_deadline
        assert job.execution_timeout == DEFAULTS.execution_timeout
        assert job.retention == DEFAULTS.retention

    def test_its_time_limits_are_those_of_the_request_if_it_has_any(self) -> None:
        world = World()
        clocks = {"start_deadline_seconds": 60, "execution_timeout_seconds": 5}
        job = world.submit({"prompt": "a red fox", **clocks}).job
        assert job.start_deadline - job.queued_at == timedelta(minutes=1)
        assert job.execution_timeout == timedelta(seconds=5)

    def test_without_a_key_each_post_is_a_job(self) -> None:
        world = World()
        ids = {world.submit({"prompt": "a red fox"}).job.id for _ in range(3)}
        assert {job.id for job in listed(world)} == ids
        assert len(ids) == 3


# JSON with a lone surrogate, which is half a character, is refused before it gets here.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=50)
AWKWARD = "\x00\x01\x1f\x7f\x85\u2028\ufeff\uffff\t\r\n\\\"'🦊"


class TestRoundTrip:
    """The engine gets, and the caller reads, exactly the text that the caller has sent."""

    @example(AWKWARD, True)
    @example(AWKWARD, False)
    @given(prompt=TEXTS, escaped=st.booleans())
    @settings(max_examples=30, deadline=None)
    def test_of_prompts_and_metadata(self, prompt: str, escaped: bool) -> None:
        world = World()
        sent = {"prompt": prompt, "negative_prompt": prompt, "metadata": {prompt: prompt}}
        job = world.submit(Request({"body": json.dumps(sent, ensure_ascii=escaped)}).json()).job
        graph = world.store.graph(job)
        assert [graph[node]["inputs"]["text"] for node in ("2", "3")] == [prompt, prompt]
        view = views.job_view(world.record(job.id), store=None, now=world.clock())
        shown = json.loads(view.model_dump_json())
        assert {**shown["params"], "metadata": shown["metadata"]}.items() >= sent.items()

    @example(AWKWARD)
    @given(name=TEXTS.filter(lambda name: name not in NEVER_OUTPUTS))
    @settings(max_examples=30, deadline=None)
    def test_of_workflows(self, name: str) -> None:
        world = World()
        graph = {
            name: {"class_type": name, "inputs": {"text": name}},
            name + "'": {"class_type": name, "inputs": {name: [name, 0]}},
        }
        job = world.submit({"workflow": graph}).job
        assert world.store.graph(job) == graph


POSTS = st.fixed_dictionaries(
    {
        "key": st.sampled_from([None, "once", "twice"]),
        "prompt": st.sampled_from(["a red fox", "a blue whale"]),
        "seed": st.sampled_from([None, None, 7]),
        "reuse": st.sampled_from([None, True, True, False]),
        "then": st.sampled_from(["nothing", "fail", "succeed", "cancel", "outlive"]),
    }
)


class TestSeeds:
    """A seed is drawn once. No later post changes the seed that a job shows and runs with."""

    @given(posts=st.lists(POSTS, min_size=1, max_size=8))
    @settings(max_examples=60, deadline=None)
    def test_of_stored_jobs_never_change(self, posts: list[dict[str, Any]]) -> None:
        world, seen = World(), dict[tuple[JobId, str], int]()
        for post in posts:
            asked = {name: post[name] for name in ("prompt", "seed", "reuse")}
            sent = {name: value for name, value in asked.items() if value is not None}
            with suppress(IdempotencyKeyReused):
                job = world.submit(sent, key=post["key"]).job
                assert post["seed"] in (None, seed_of(world, job))
            self._then(post["then"], world)
            for job in listed(world):
                seed = seen.setdefault((job.id, job.incarnation), seed_of(world, job))
                assert seed_of(world, job) == seed
            world.clock.advance(1)

    def _then(self, event: str, world: World) -> None:
        if event == "outlive":
            world.clock.advance(DEFAULTS.retention + DEFAULTS.start_deadline)
        for ticket in world.tickets() if event in ("fail", "succeed") else ():
            if (job := world.claim(ticket)) is not None:
                job = report_started(job, store=world.store, clock=world.clock)
                error = JobError(type="boom", message="it broke")
                ending = Fail(error) if event == "fail" else Succeed(cached=False)
                world.finisher().end(job, ticket, ending)
        if event == "cancel":
            for job in listed(world):
                with suppress(JobNotFound):  # past its retention
                    cancel(job.id, job.owner, store=world.store, clock=world.clock)

    def test_without_a_key_two_posts_draw_two_seeds(self) -> None:
        world = World()
        jobs = [world.submit({"prompt": "a red fox"}).job for _ in range(2)]
        assert seed_of(world, jobs[0]) != seed_of(world, jobs[1])

    def test_a_canceled_job_is_made_again_with_the_same_seed(self) -> None:
        world = World()
        sent = {"prompt": "a red fox", "reuse": True}
        first = world.submit(sent).job
        self._then("cancel", world)
        again = world.submit(sent)
        assert (again.replayed, again.job.id != first.id) == (False, True)
        assert seed_of(world, again.job) == seed_of(world, first)


def seed_of(world: World, job: Job) -> int:
    """The seed that the owner is shown, which is the one that runs."""
    shown = world.record(job.id).params.params["seed"]
    assert world.store.graph(job)["5"]["inputs"]["seed"] == shown
    return int(shown)


TOO_LARGE: Mapping[str, Mapping[str, Any]] = {
    "pixels": {"prompt": "a red fox", "width": 2048, "height": 2048},
    "images": {"prompt": "a red fox", "batch_size": MAX_BATCH_SIZE + 1},
    "bytes": {"workflow": a_graph(random.Random(1).randbytes(450_000).hex())},
}


class TestRefusal:
    @pytest.mark.parametrize("sent", TOO_LARGE.values(), ids=TOO_LARGE)
    def test_of_a_request_that_is_too_large_stores_nothing(self, sent: Mapping[str, Any]) -> None:
        world = World()
        with pytest.raises(RequestTooLarge):
            world.submit(sent, key="once")
        assert (listed(world), world.tickets()) == ([], [])
        assert not world.submit(key="once").replayed

    @pytest.mark.parametrize(
        ("workflow", "loc"),
        [
            ({}, ()),
            ({"nodes": [], "links": []}, ()),
            ({"1": []}, ("1",)),
            ({"1": {"class_type": "", "inputs": {}}}, ("1", "class_type")),
            ({"1": {"class_type": "SaveImage"}}, ("1", "inputs")),
            ({"1": {"class_type": "A", "inputs": {"x": ["2", 0]}}}, ("1", "inputs", "x")),
            ({str(n): {"class_type": "A", "inputs": {}} for n in range(2001)}, ()),
        ],
    )
    def test_of_an_invalid_graph_names_the_place(
        self, workflow: Mapping[str, Any], loc: tuple[str, ...]
    ) -> None:
        world = World()
        with pytest.raises(InvalidRequest) as caught:
            world.submit({"workflow": workflow})
        assert [error.loc for error in caught.value.errors] == [("body", "workflow", *loc)]
        assert listed(world) == []


class TestOutOfReach:
    def test_a_job_whose_ticket_was_not_sent_gets_one_from_the_sweeper(self) -> None:
        world = World()
        queue = meanwhile(world.queue, "send", raising(Unavailable("throttled")))
        job = world.submit(queue=queue).job
        assert world.tickets() == []
        world.clock.advance(30)
        world.sweep()
        assert [ticket.job_id for ticket in world.tickets()] == [job.id]

    @pytest.mark.parametrize("call", ["put_request", "add"])
    def test_a_post_without_a_store_accepts_nothing_and_may_be_repeated(self, call: str) -> None:
        world = World()
        store = meanwhile(world.store, call, raising(Unavailable("throttled")))
        with pytest.raises(Unavailable):
            world.submit(key="once", store=store)
        assert (listed(world), world.tickets()) == ([], [])
        assert not world.submit(key="once").replayed


class TestReplay:
    def test_answers_with_the_first_job_and_makes_no_other(self) -> None:
        world = World()
        first = world.submit(key="once").job
        world.clock.advance(1)
        again = world.submit(dict(reversed(list(SENT.items()))), key="once")
        assert (again.job, again.replayed) == (first, True)
        assert listed(world) == [first]
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


def replayed_tickets(world: World) -> list[JobId]:
    """The jobs of the tickets that wait after the post with the key `once` was repeated."""
    world.clock.advance(LATER)
    assert world.submit(key="once").replayed
    return [ticket.job_id for ticket in world.tickets()]
