"""A post makes one job and its ticket, and the job runs the posted graph; or it is refused."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from comfyline.adapters.memory.files import InMemoryArtifactStore
from comfyline.api.v1 import views
from comfyline.contract.limits import MAX_BATCH_SIZE, MAX_DRAWN_SEED
from comfyline.service.errors import (
    InvalidRequest,
    RequestTooLarge,
    Unavailable,
)
from comfyline.service.graphs.catalogue import NEVER_OUTPUTS
from comfyline.service.graphs.validate import MAX_NODES
from comfyline.service.queue.lanes import Priority
from functions._request import Request
from tests.support.builders import a_graph
from tests.support.ports import meanwhile, raising
from tests.support.world import DEFAULTS, World


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
        assert all(0 <= seed <= MAX_DRAWN_SEED for seed in seeds)

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
        assert {job.id for job in world.listed()} == ids
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
        view = views.job_view(
            world.record(job.id), store=InMemoryArtifactStore(), now=world.clock()
        )
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
        assert (world.listed(), world.tickets()) == ([], [])
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
            ({str(n): {"class_type": "A", "inputs": {}} for n in range(MAX_NODES + 1)}, ()),
        ],
    )
    def test_of_an_invalid_graph_names_the_place(
        self, workflow: Mapping[str, Any], loc: tuple[str, ...]
    ) -> None:
        world = World()
        with pytest.raises(InvalidRequest) as caught:
            world.submit({"workflow": workflow})
        assert [error.loc for error in caught.value.errors] == [("body", "workflow", *loc)]
        assert world.listed() == []


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
        assert (world.listed(), world.tickets()) == ([], [])
        assert not world.submit(key="once").replayed
