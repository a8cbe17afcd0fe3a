"""A retry is checked like a post: lists and limits may have changed since the first post."""

from __future__ import annotations

from typing import Any

import pytest

from comfyline.contract.ids import JobId
from comfyline.service.access.slots import Limits
from comfyline.service.errors import InvalidRequest, RequestTooLarge
from comfyline.service.graphs.catalogue import Catalogue
from comfyline.service.intake.submission import Accepted
from tests.support.builders import NOW
from tests.support.world import SENT, World
from tests.unit.graphs.graphs import SAVE, node

CUSTOM = {"workflow": {"1": node("EmptyImage", width=64, height=64, batch_size=9), "2": SAVE}}


class Retrier(World):
    """Posts a job, cancels it, and retries it with another lock or another key."""

    def canceled(self, sent: dict[str, Any]) -> JobId:
        job = self.submit(sent).job
        self.cancel(job.id)
        return job.id

    def retry(
        self, job_id: JobId, catalogue: Catalogue | None = None, limits: Limits | None = None
    ) -> Accepted:
        return self.submitter(catalogue).retry(job_id, self.caller(limits or Limits()))


ONLY_EMPTY = Catalogue(node_classes=frozenset({"EmptyImage"}))
OTHER_NAMES = Catalogue(samplers=("heun",))


@pytest.mark.parametrize("sent", [dict(SENT), CUSTOM])
def test_a_retry_that_would_be_accepted_as_a_post_is(sent: dict[str, Any]) -> None:
    world = Retrier()
    assert not world.retry(world.canceled(sent)).replayed


def test_a_class_that_was_taken_off_the_list_is_refused() -> None:
    world = Retrier()
    with pytest.raises(InvalidRequest) as refusal:
        world.retry(world.canceled(CUSTOM), ONLY_EMPTY)
    assert refusal.value.errors[0].loc == ("body", "workflow", "2", "class_type")


def test_the_form_has_the_names_of_the_lock_of_today() -> None:
    world = Retrier()
    job_id = world.canceled(dict(SENT))
    assert world.retry(job_id, ONLY_EMPTY)  # the list is for graphs
    world.clock.advance(1)
    with pytest.raises(InvalidRequest, match="does not have"):
        world.retry(world.canceled({**SENT, "prompt": "another"}), OTHER_NAMES)


@pytest.mark.parametrize("sent", [CUSTOM, {**SENT, "batch_size": 9}])
def test_a_retry_has_the_limits_of_its_own_key(sent: dict[str, Any]) -> None:
    world = Retrier()
    with pytest.raises(RequestTooLarge):
        world.retry(world.canceled(sent), limits=Limits(max_batch_size=8))


def test_a_refused_retry_makes_no_job() -> None:
    world = Retrier()
    job_id = world.canceled(CUSTOM)
    with pytest.raises(InvalidRequest):
        world.retry(job_id, ONLY_EMPTY)
    assert [job.id for job in world.listed()] == [job_id]
    assert world.clock() == NOW
