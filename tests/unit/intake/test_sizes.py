"""How large pictures may be: in the parameter form, in graphs, and with a key that sets limits."""

from __future__ import annotations

from typing import Any

import pytest

from comfyline.contract.limits import MAX_BATCH_SIZE
from comfyline.service.access.slots import Limits
from comfyline.service.errors import InvalidRequest, RequestTooLarge
from tests.support.world import World
from tests.unit.graphs.graphs import SAVE, node


def form(**sizes: int) -> dict[str, Any]:
    return {"prompt": "a red fox", **sizes}


def graph(class_type: str = "EmptyLatentImage", **sizes: Any) -> dict[str, Any]:
    number = node("PrimitiveInt", value=1)
    return {"workflow": {"1": node(class_type, **sizes), "2": SAVE, "number": number}}


CANVAS = graph("EmptyImage", width=3840, height=2160, batch_size=1, color=0)
FRAMES = graph(width=64, height=64, batch_size=4_096)


@pytest.mark.parametrize("sent", [CANVAS, FRAMES])
def test_a_graph_has_any_size(sent: dict[str, Any]) -> None:
    assert World().submit(sent)


@pytest.mark.parametrize(
    "sent", [form(width=2048, height=2048), form(batch_size=MAX_BATCH_SIZE + 1)]
)
def test_the_parameter_form_has_the_limits_of_the_service(sent: dict[str, Any]) -> None:
    with pytest.raises(RequestTooLarge):
        World().submit(sent)


@pytest.mark.parametrize(
    ("limits", "allowed", "refused"),
    [
        (
            Limits(max_pixels=4_194_304),
            form(width=2048, height=2048),
            form(width=2056, height=2048),
        ),
        (Limits(max_pixels=4_096), form(width=64, height=64), form(width=64, height=72)),
        (Limits(max_batch_size=64), form(batch_size=64), form(batch_size=65)),
        (Limits(max_batch_size=1), form(), form(batch_size=2)),
        (Limits(max_pixels=4_096), FRAMES, CANVAS),
        (Limits(max_batch_size=16), CANVAS, FRAMES),
        (Limits(max_batch_size=4), graph(width=8, height=["number", 0], batch_size=4.0), FRAMES),
    ],
)
def test_the_limits_of_a_key_take_their_place(
    limits: Limits, allowed: dict[str, Any], refused: dict[str, Any]
) -> None:
    world = World()
    assert world.submit(allowed, limits=limits)
    with pytest.raises(RequestTooLarge):
        world.submit(refused, limits=limits)


def test_a_limit_on_pictures_costs_no_slot() -> None:
    world = World()
    assert not world.submit(limits=Limits(max_pixels=10**9, max_batch_size=99)).job.has_slot
    assert world.submit(limits=Limits(max_active_jobs=9, max_pixels=10**9)).job.has_slot


ONE_PICTURE = Limits(max_pixels=4_096, max_batch_size=1)


@pytest.mark.parametrize("value", ["4096", "8", 8.5, True, None, [8, 8], {"a": 1}])
@pytest.mark.parametrize("side", ["width", "height", "batch_size"])
def test_what_is_no_number_is_refused_where_a_key_limits_it(side: str, value: Any) -> None:
    """ComfyUI converts such a value to a number."""
    sent = graph(**{"width": 8, "height": 8, "batch_size": 1, side: value})
    assert World().submit(sent)
    with pytest.raises(InvalidRequest) as refusal:
        World().submit(sent, limits=ONE_PICTURE)
    (error,) = refusal.value.errors
    assert error.loc == ("body", "workflow", "1", "inputs", side)


@pytest.mark.parametrize("side", ["width", "height", "batch_size"])
def test_a_whole_number_counts_in_each_way_to_write_it(side: str) -> None:
    sent = graph(**{"width": 8, "height": 8, "batch_size": 1, side: 16384.0})
    with pytest.raises(RequestTooLarge):
        World().submit(sent, limits=ONE_PICTURE)


def test_a_link_counts_as_one_because_only_the_engine_knows_its_value() -> None:
    linked = graph(width=["number", 0], height=64, batch_size=1)
    assert World().submit(linked, limits=ONE_PICTURE)
    with pytest.raises(RequestTooLarge):
        World().submit(graph(width=["number", 0], height=64, batch_size=2), limits=ONE_PICTURE)
