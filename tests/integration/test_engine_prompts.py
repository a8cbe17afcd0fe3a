"""Prompts on a simulated ComfyUI: what their nodes send over the socket and queue by themselves."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from comfyui_sim.options import Options
from comfyui_sim.server import Simulator
from gpu_worker.comfy.engine import ComfyEngine
from gpu_worker.comfy.http import ComfyHttp, PromptRejected, session_of
from gpu_worker.comfy.keeper import ForeignEngine
from gpu_worker.comfy.marks import mark
from gpu_worker.comfy.outcomes import (
    Outcome,
    PicturesLost,
    PromptInterrupted,
    PromptQueuedPrompts,
    PromptSucceeded,
)
from gpu_worker.comfy.protocol import Event, PromptPreviewed, PromptProgressed
from gpu_worker.comfy.watchdog import Patience
from tests.support import web
from tests.support.eventually import WITHIN, eventually
from tests.support.worker_world import EMPTY_IMAGE, a_graph

PATIENCE = Patience(disobedient=WITHIN, pictures=0.5)
PICTURES = {
    "class_type": "EmptyImage",
    "inputs": {"width": 16, "height": 8, "batch_size": 3, "color": 255},
}
SENDERS = {
    "1": PICTURES,
    "2": {"class_type": "SaveImageWebsocket", "inputs": {"images": ["1", 0]}},
    "12:3": {
        "class_type": "ETN_SendImageWebSocket",
        "inputs": {"images": ["1", 0], "format": "JPEG"},
    },
}
SENDER_OF_3 = {"class_type": "SaveImageWebsocket", "inputs": {"images": ["3", 0]}}
SLOW_SENDER = {
    "1": PICTURES,
    "3": {
        "class_type": "ProbeSleep",
        "inputs": {"images": ["1", 0], "seconds": 1.0, "progress": False, "nonce": 0},
    },
    "2": {"class_type": "SaveImageWebsocket", "inputs": {"images": ["3", 0]}},
}
ROUNDS = {"1": {"class_type": "CaseRequeue", "inputs": {"rounds": 3, "filename_prefix": "part"}}}
ENDLESS = {
    **ROUNDS,
    "1": {"class_type": "CaseRequeue", "inputs": {"rounds": 2**30, "filename_prefix": "part"}},
    "2": {"class_type": "CaseSleep", "inputs": {"seconds": 0.05}},
}
HALF_WRONG = {
    **EMPTY_IMAGE,
    "3": {"class_type": "SaveImage", "inputs": {"filename_prefix": "bad"}},
}


class Sim:
    """A simulated ComfyUI, and the events of the prompts that are run on it."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http
        self.url = str(http.base_url).rstrip("/")
        self.events: list[Event] = []
        self.cancel = asyncio.Event()

    @asynccontextmanager
    async def engine(self, *, follows: bool = False) -> AsyncIterator[ComfyEngine]:
        keeper = ForeignEngine()
        async with ComfyEngine.connected(
            self.url, keeper, PATIENCE, follows_queued=follows
        ) as engine:
            yield engine

    async def run(self, engine: ComfyEngine, graph: Mapping[str, Any], **options: Any) -> Outcome:
        return await engine.run(
            graph,
            str(uuid.uuid4()),
            on_event=self.events.append,
            cancel=self.cancel,
            **options,
        )

    async def post(self, graph: Mapping[str, Any], **fields: Any) -> None:
        """Post a prompt as another client of the engine."""
        (await self.http.post("/prompt", json={"prompt": graph, **fields})).raise_for_status()

    async def faults(self, **switches: Any) -> None:
        (await self.http.post("/sim/faults", json=switches)).raise_for_status()

    async def executed(self) -> int:
        return int((await self.http.get("/sim/executed")).json()["count"])

    async def in_queue(self) -> int:
        return int((await self.http.get("/prompt")).json()["exec_info"]["queue_remaining"])


@pytest.fixture
async def sim(tmp_path: Path) -> AsyncIterator[Sim]:
    options = Options(data_dir=tmp_path, port=0, step_ms=2)
    async with Simulator(options) as server, web.AsyncClient(base_url=server.url) as http:
        yield Sim(http)


# --- pictures -------------------------------------------------------------------------------------


@pytest.mark.parametrize("previews", [False, True])
async def test_pictures_that_output_nodes_send_are_results_in_their_order(
    sim: Sim, previews: bool
) -> None:
    async with sim.engine() as engine:
        outcome = await sim.run(engine, SENDERS, previews=previews)
    assert isinstance(outcome, PromptSucceeded)
    names = sorted(picture.name for picture in outcome.pictures)
    pngs = [f"image_2_0000{number}.png" for number in (1, 2, 3)]
    assert names == [f"image_12:3_0000{number}.jpeg" for number in (1, 2, 3)] + pngs
    for picture in outcome.pictures:
        start = b"\x89PNG" if picture.content_type == "image/png" else b"\xff\xd8\xff"
        assert picture.read().startswith(start)
    by_node = [picture.number for picture in outcome.pictures if picture.node == "2"]
    assert by_node == [1, 2, 3]


async def test_the_same_pictures_are_sent_again_for_the_next_prompt(sim: Sim) -> None:
    async with sim.engine() as engine:
        for _ in range(3):
            outcome = await sim.run(engine, {"1": PICTURES, "2": SENDERS["2"]})
            assert isinstance(outcome, PromptSucceeded)
            assert len(outcome.pictures) == 3


async def test_previews_of_a_sampler_are_no_results(sim: Sim) -> None:
    async with sim.engine() as engine:
        outcome = await sim.run(engine, a_graph(steps=3), previews=True)
    assert isinstance(outcome, PromptSucceeded)
    assert outcome.pictures == ()
    assert sum(isinstance(event, PromptPreviewed) for event in sim.events) == 3


async def test_a_cut_socket_loses_the_pictures_of_a_graph_that_sends_some(sim: Sim) -> None:
    async with sim.engine() as engine:
        running = asyncio.create_task(sim.run(engine, SLOW_SENDER))
        await eventually(lambda: engine.running == 1)
        await sim.faults(drop_sockets=True)
        outcome = await running
    assert isinstance(outcome, PicturesLost)
    assert (outcome.node_id, outcome.node_type) == ("2", "SaveImageWebsocket")


async def test_a_cut_socket_costs_a_graph_that_writes_files_nothing(sim: Sim) -> None:
    save = {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "x"}}
    graph = {**SLOW_SENDER, "2": save}
    async with sim.engine() as engine:
        running = asyncio.create_task(sim.run(engine, graph))
        await eventually(lambda: engine.running == 1)
        await sim.faults(drop_sockets=True)
        assert isinstance(await running, PromptSucceeded)


async def test_pictures_that_a_mute_socket_does_not_show_are_lost(sim: Sim) -> None:
    async with sim.engine() as engine:
        assert isinstance(await sim.run(engine, SENDERS), PromptSucceeded)
        await sim.faults(mute_sockets=True)
        assert isinstance(await sim.run(engine, SENDERS), PicturesLost)
        await sim.faults(mute_sockets=False)
        await eventually(engine._socket.is_open.is_set)
        assert isinstance(await sim.run(engine, SENDERS), PromptSucceeded)


async def test_a_graph_that_sends_pictures_is_not_run_without_a_socket(sim: Sim) -> None:
    async with session_of(sim.url) as session:
        engine = ComfyEngine(ComfyHttp(session), "ws://127.0.0.1:1", ForeignEngine(), PATIENCE)
        assert isinstance(await sim.run(engine, SENDERS), PicturesLost)
        assert await sim.executed() == 0
        assert isinstance(await sim.run(engine, EMPTY_IMAGE), PromptSucceeded)


# --- prompts that nodes queue ---------------------------------------------------------------------


async def test_a_prompt_whose_node_queues_prompts_names_the_node_and_leaves_none(sim: Sim) -> None:
    async with sim.engine() as engine:
        outcome = await sim.run(engine, ENDLESS)
        assert await sim.in_queue() == 0
    assert isinstance(outcome, PromptQueuedPrompts)
    assert (outcome.node_id, outcome.node_type) == ("1", "CaseRequeue")


async def test_files_are_brought_when_no_unfollowed_prompt_can_write_any(sim: Sim) -> None:
    left: list[int] = []

    async def bring() -> None:
        left.append(await sim.in_queue())

    await sim.post({"1": PICTURES, "2": {"class_type": "CaseSleep", "inputs": {"seconds": 0.5}}})
    async with sim.engine() as engine:
        outcome = await sim.run(engine, EMPTY_IMAGE, before_post=bring)
    assert isinstance(outcome, PromptSucceeded)
    assert left == [0]


async def test_a_prompt_that_waits_behind_one_that_queues_prompts_runs(sim: Sim) -> None:
    slow = {**ENDLESS, "3": {"class_type": "CaseSleep", "inputs": {"seconds": 0.5}}}
    async with sim.engine() as engine:
        outcomes = await asyncio.gather(sim.run(engine, slow), sim.run(engine, EMPTY_IMAGE))
        assert await sim.in_queue() == 0
    assert [type(outcome) for outcome in outcomes] == [PromptQueuedPrompts, PromptSucceeded]


async def test_rounds_are_followed_to_the_end_if_the_worker_is_told_to(sim: Sim) -> None:
    async with sim.engine(follows=True) as engine:
        outcomes = await asyncio.gather(sim.run(engine, ROUNDS), sim.run(engine, EMPTY_IMAGE))
        assert await sim.executed() == 4
    rounds, other = outcomes
    assert isinstance(rounds, PromptSucceeded)
    (file,) = rounds.outputs["1"]["gifs"]
    assert file["filename"] == "part_00001.mp4"
    assert "unfinished_batch" not in rounds.outputs["1"]
    assert isinstance(other, PromptSucceeded)
    fractions = [e.progress.fraction for e in sim.events if isinstance(e, PromptProgressed)]
    assert fractions[: fractions.index(max(fractions))] == sorted(
        fractions[: fractions.index(max(fractions))]
    )


async def test_pictures_that_further_rounds_send_are_results_too(sim: Sim) -> None:
    async with sim.engine(follows=True) as engine:
        outcome = await sim.run(engine, {**ROUNDS, "3": SENDERS["1"], "4": SENDER_OF_3})
    assert isinstance(outcome, PromptSucceeded)
    assert [picture.number for picture in outcome.pictures] == list(range(1, 10))


async def test_a_cancel_ends_all_rounds(sim: Sim) -> None:
    async with sim.engine(follows=True) as engine:
        running = asyncio.create_task(sim.run(engine, ENDLESS))
        while await sim.executed() < 3:
            await asyncio.sleep(0.01)
        sim.cancel.set()
        outcome = await asyncio.wait_for(running, WITHIN)
        assert isinstance(outcome, PromptInterrupted)
        await engine.wait_ready()
        assert await sim.in_queue() == 0


async def test_a_prompt_that_waits_for_its_turn_can_be_stopped(sim: Sim) -> None:
    async with sim.engine(follows=True) as engine:
        other = asyncio.Event()
        first = asyncio.create_task(sim.run(engine, SLOW_SENDER))
        await eventually(lambda: engine.running == 1)
        asyncio.get_running_loop().call_soon(other.set)
        outcome = await engine.run(
            EMPTY_IMAGE, str(uuid.uuid4()), on_event=sim.events.append, cancel=other
        )
        assert isinstance(outcome, PromptInterrupted)
        assert isinstance(await first, PromptSucceeded)
        assert await sim.executed() == 1


async def test_an_unfollowed_prompt_is_removed_and_no_job_is_blamed(sim: Sim) -> None:
    async with sim.engine() as engine:
        running = asyncio.create_task(sim.run(engine, SLOW_SENDER))
        await eventually(lambda: engine.running == 1)
        await sim.post(a_graph(steps=10_000))
        assert isinstance(await running, PromptSucceeded)
        await engine.wait_ready()
        assert await sim.in_queue() == 0
        entries = (await sim.http.get("/history")).json().values()
    assert [entry["status"]["status_str"] for entry in entries].count("success") == 1


async def test_a_prompt_of_another_worker_is_left_alone(sim: Sim) -> None:
    theirs = str(uuid.uuid4())
    async with sim.engine() as engine:
        await sim.post(a_graph(steps=20), prompt_id=theirs, extra_data=dict(mark(theirs)))
        await engine.wait_ready()
        assert isinstance(await sim.run(engine, EMPTY_IMAGE), PromptSucceeded)
        history = (await sim.http.get(f"/history/{theirs}")).json()
    assert history[theirs]["status"]["status_str"] == "success"


# --- graphs of which a part is valid --------------------------------------------------------------


async def test_the_valid_outputs_run_and_the_others_are_told(sim: Sim) -> None:
    async with sim.engine() as engine:
        outcome = await sim.run(engine, HALF_WRONG)
    assert isinstance(outcome, PromptSucceeded)
    assert list(outcome.outputs) == ["2"]
    assert [(p.node_id, p.node_type, p.input_name) for p in outcome.problems] == [
        ("3", "SaveImage", "images")
    ]


async def test_a_strict_graph_with_a_wrong_output_is_refused_and_leaves_nothing(sim: Sim) -> None:
    async with sim.engine() as engine:
        with pytest.raises(PromptRejected) as rejected:
            await sim.run(engine, HALF_WRONG, strict=True)
        assert await sim.in_queue() == 0
        assert (await sim.http.get("/history")).json() == {}
    assert [problem.node_id for problem in rejected.value.problems] == ["3"]


async def test_a_strict_graph_that_is_valid_runs(sim: Sim) -> None:
    async with sim.engine() as engine:
        assert isinstance(await sim.run(engine, EMPTY_IMAGE, strict=True), PromptSucceeded)


async def test_an_error_of_ours_in_one_frame_does_not_end_the_reading(sim: Sim) -> None:
    def refuse(event: Event) -> None:
        if isinstance(event, PromptProgressed):
            raise RuntimeError("a bug")

    async with sim.engine() as engine:
        for _ in range(2):
            outcome = await engine.run(
                {"1": PICTURES, "2": SENDERS["2"]},
                str(uuid.uuid4()),
                on_event=refuse,
                cancel=sim.cancel,
            )
            assert isinstance(outcome, PromptSucceeded)
            assert len(outcome.pictures) == 3


# --- silence --------------------------------------------------------------------------------------


async def test_a_node_may_be_silent_for_longer_than_the_patience(sim: Sim) -> None:
    patience = Patience(silent=0.2)
    async with ComfyEngine.connected(sim.url, ForeignEngine(), patience) as engine:
        assert isinstance(await sim.run(engine, SLOW_SENDER), PromptSucceeded)


# --- the time that a prompt ran -------------------------------------------------------------------


async def test_the_time_that_a_prompt_ran_does_not_count_its_wait(sim: Sim) -> None:
    async with sim.engine() as engine:
        began = time.monotonic()
        first, second = await asyncio.gather(
            sim.run(engine, SLOW_SENDER), sim.run(engine, EMPTY_IMAGE)
        )
        took = time.monotonic() - began
    assert first.ran_seconds > 0.9
    # One prompt runs at a time, so a wait that counted would make the sum longer.
    assert first.ran_seconds + second.ran_seconds < took
