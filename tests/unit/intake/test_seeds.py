"""A seed is drawn once. No later post changes the seed that a job shows and runs with."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from comfyline.contract.ids import JobId
from comfyline.service.errors import (
    IdempotencyKeyReused,
    JobNotFound,
)
from comfyline.service.jobs.cancel import cancel
from comfyline.service.jobs.finish import Fail, Succeed
from comfyline.service.jobs.job import Job, JobError
from comfyline.service.jobs.report import report_started
from tests.support.world import DEFAULTS, World

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
            for job in world.listed():
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
                ending = Fail(error) if event == "fail" else Succeed(cached=False, nodes_cached=0)
                world.finisher().end(job, ticket, ending)
        if event == "cancel":
            for job in world.listed():
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
