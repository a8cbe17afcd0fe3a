"""The end of an attempt writes the row and then the ticket, if the attempt still holds the job."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta

import pytest

from comfyline.adapters.memory.ledger import InMemoryLedger
from comfyline.service.errors import JobNotFound, LeaseLost, Unavailable
from comfyline.service.jobs.decide import (
    MAX_FAILURES,
    MAX_FAULTS,
    MAX_INTERRUPTIONS,
    MAX_UNHEALTHY_WORKERS,
)
from comfyline.service.jobs.finish import (
    NOT_STORED,
    Ending,
    Fail,
    GiveBack,
    Retry,
    RetryAfterFault,
    Succeed,
)
from comfyline.service.jobs.job import Status
from comfyline.service.jobs.report import report_started
from comfyline.service.jobs.result import JobResult, ResultWarning
from comfyline.service.ledger.store import Usage
from tests.support.builders import LEASE, NOW, a_result, an_artifact
from tests.support.invariants import check_record
from tests.support.ports import meanwhile, raising
from tests.support.world import World
from tests.unit.jobs.endings import (
    BOOM,
    ENDINGS,
    End,
    a_started_job,
    every_ending,
    request_cancel,
    stop,
    succeed,
)

MISSING = ResultWarning(type="file_missing", message="a.png is not there", node_id="7")


class TestSuccess:
    def test_lists_every_file(self) -> None:
        world = World()
        job, ticket = a_started_job(world)
        done = succeed(world.finisher(), job, ticket)
        assert (done.status, done.cached, done.gpu_seconds) == (Status.SUCCEEDED, True, 2.0)
        record = world.record(job.id)
        assert (record.job, record.artifacts) == (done, (an_artifact(job),))
        check_record(record)

    def test_wins_over_a_requested_cancel(self) -> None:
        world = World()
        job, ticket = a_started_job(world)
        request_cancel(world, job)
        assert succeed(world.finisher(), job, ticket).status is Status.SUCCEEDED


class TestFailure:
    def test_a_fault_of_the_job_ends_it_with_the_node(self) -> None:
        world = World()
        job, ticket = a_started_job(world)
        ended = world.finisher().end(job, ticket, Fail(BOOM))
        assert (ended.status, ended.failures) == (Status.FAILED, 1)
        assert ended.error is not None
        assert (ended.error.node_id, ended.error.attempt) == ("5", 1)

    def test_a_fault_of_the_job_keeps_the_files_made_before(self) -> None:
        world = World()
        job, ticket = a_started_job(world)
        world.finisher().end(job, ticket, Fail(BOOM), result=a_result(an_artifact(job)))
        assert world.record(job.id).artifacts == (an_artifact(job),)

    def test_any_other_fault_is_retried_at_once_by_the_next_worker(self) -> None:
        world = World()
        job, ticket = a_started_job(world)
        waiting = world.finisher().end(job, ticket, Retry(BOOM))
        assert (waiting.status, waiting.lease, waiting.failures) == (Status.QUEUED, None, 1)
        again, _ = world.claimed()
        assert (again.id, again.attempt) == (job.id, 2)

    def test_the_number_of_retries_is_limited(self) -> None:
        world = World()
        world.submit()
        for _ in range(MAX_FAILURES):
            job, ticket = world.started()
            ended = world.finisher().end(job, ticket, Retry(BOOM))
        assert (ended.status, ended.attempt) == (Status.FAILED, MAX_FAILURES)
        world.clock.advance(LEASE)
        assert world.tickets() == []


class TestFault:
    @pytest.mark.parametrize(
        ("is_healthy", "attempts", "error_type"),
        [(True, MAX_FAULTS, "boom"), (False, MAX_UNHEALTHY_WORKERS, "worker_unhealthy")],
        ids=["of the job", "of the worker"],
    )
    def test_is_retried_at_once_and_ends_the_job_at_its_limit(
        self, is_healthy: bool, attempts: int, error_type: str
    ) -> None:
        world = World()
        world.submit()
        for number in range(1, attempts + 1):
            job, ticket = world.started()
            ended = world.finisher().end(job, ticket, RetryAfterFault(BOOM, is_healthy))
            assert (ended.attempt, ended.failures) == (number, 0)
        assert ended.status is Status.FAILED
        assert ended.error is not None
        assert (ended.error.type, ended.error.node_id) == (error_type, "5")

    def test_of_the_worker_is_forgotten_when_the_job_succeeds_elsewhere(self) -> None:
        world = World()
        job, ticket = a_started_job(world)
        world.finisher().end(job, ticket, RetryAfterFault(BOOM, is_healthy=False))
        done = world.succeeded()
        assert (done.status, done.error, done.failures, done.faults) == (
            Status.SUCCEEDED,
            None,
            0,
            0,
        )


class TestInterruption:
    def test_is_not_a_failure(self) -> None:
        world = World()
        job, ticket = a_started_job(world)
        waiting = world.finisher().end(job, ticket, GiveBack())
        assert (waiting.status, waiting.failures, waiting.interruptions) == (Status.QUEUED, 0, 1)
        assert world.ticket().job_id == job.id

    def test_before_the_start_keeps_the_start_deadline(self) -> None:
        world = World()
        world.submit()
        job, ticket = world.claimed()
        waiting = world.finisher().end(job, ticket, GiveBack())
        assert waiting.is_past_start_deadline(waiting.start_deadline)

    def test_the_number_of_interruptions_is_limited(self) -> None:
        world = World()
        world.submit()
        for _ in range(MAX_INTERRUPTIONS):
            job, ticket = world.started()
            ended = world.finisher().end(job, ticket, GiveBack())
        assert ended.status is Status.FAILED
        assert ended.error is not None
        assert ended.error.type == "interrupted_too_often"


class TestTicket:
    @every_ending
    def test_is_deleted_if_the_job_has_ended_and_else_visible_at_once(self, end: End) -> None:
        world = World()
        job, ticket = a_started_job(world)
        if end is stop:
            job = request_cancel(world, job)
        ended = end(world.finisher(), job, ticket)
        assert ended == world.row(job.id)
        assert len(world.tickets()) == (0 if ended.status.is_terminal else 1)
        world.clock.advance(LEASE)
        assert len(world.tickets()) == (0 if ended.status.is_terminal else 1)


class TestGpuSeconds:
    @every_ending
    def test_every_ending_records_the_gpu_time_of_the_attempt(self, end: End) -> None:
        world = World()
        job, ticket = a_started_job(world)
        if end is stop:
            job = request_cancel(world, job)
        assert end(world.finisher(), job, ticket).gpu_seconds == 2.0

    @pytest.mark.parametrize("ending", ["retry", "give_back"])
    def test_the_gpu_time_of_a_canceled_attempt_is_recorded_too(self, ending: str) -> None:
        world = World()
        job, ticket = a_started_job(world)
        request_cancel(world, job)
        ended = ENDINGS[ending](world.finisher(), job, ticket)
        assert (ended.status, ended.gpu_seconds) == (Status.CANCELED, 2.0)

    def test_the_gpu_time_adds_up_over_attempts_and_is_charged_once(self) -> None:
        world = World()
        job, ticket = a_started_job(world)
        for ending in ("give_back", "retry"):
            answers = [ENDINGS[ending](world.finisher(), job, ticket) for _ in range(2)]
            assert answers == [world.row(job.id)] * 2  # a retry, in case the first answer was lost
            job, ticket = world.started()
        ended = succeed(world.finisher(), job, ticket)
        assert ended.gpu_seconds == 6.0
        ledger = InMemoryLedger()
        for _ in range(2):
            ledger.count([ended])
        assert ledger.usage(world.owner) == Usage(gpu_seconds=6.0, jobs=1)

    def test_the_gpu_time_of_the_last_allowed_interruption_is_recorded_too(self) -> None:
        world = World()
        world.submit()
        for _ in range(MAX_INTERRUPTIONS):
            ended = world.finisher().end(*world.started(), GiveBack(), gpu_seconds=0.5)
        assert (ended.status, ended.gpu_seconds) == (Status.FAILED, MAX_INTERRUPTIONS / 2)


class TestLeaseLost:
    @every_ending
    def test_after_another_worker_claimed_nothing_is_written(self, end: End) -> None:
        world = World()
        job, ticket = a_started_job(world)
        world.clock.advance(LEASE)
        theirs, their_ticket = world.started()
        with pytest.raises(LeaseLost):
            end(world.finisher(), job, ticket)
        assert world.row(job.id) == theirs
        assert world.tickets() == []
        assert succeed(world.finisher(), theirs, their_ticket).attempt == 2
        assert [a.key for a in world.record(job.id).artifacts] == [an_artifact(theirs).key]

    @every_ending
    def test_after_the_lease_expired_nothing_is_written(self, end: End) -> None:
        world = World()
        job, ticket = a_started_job(world)
        world.clock.advance(LEASE + timedelta(seconds=2))
        world.sweep()
        before = world.row(job.id)
        with pytest.raises(LeaseLost):
            end(world.finisher(), job, ticket)
        assert world.row(job.id) == before
        check_record(world.record(job.id))

    def test_after_the_record_was_removed_nothing_is_written(self) -> None:
        world = World()
        job, ticket = a_started_job(world)
        world.store.delete(job)
        with pytest.raises(JobNotFound):
            world.finisher().end(job, ticket, GiveBack())


class TestRace:
    @pytest.mark.parametrize("ending", ["retry", "give_back"])
    def test_a_concurrent_cancel_ends_the_job(self, ending: str) -> None:
        world = World()
        job, ticket = a_started_job(world)
        store = meanwhile(world.store, "save", lambda: request_cancel(world, job))
        ended = ENDINGS[ending](world.finisher(store), job, ticket)
        assert ended.status is Status.CANCELED
        world.clock.advance(LEASE)
        assert world.tickets() == []

    def test_a_concurrent_heartbeat_does_not_disturb_an_ending(self) -> None:
        world = World()
        job, ticket = a_started_job(world)
        until = NOW + 2 * LEASE
        store = meanwhile(world.store, "save", lambda: world.store.renew(job, until))
        assert succeed(world.finisher(store), job, ticket).status is Status.SUCCEEDED

    def test_a_start_is_refused_after_the_attempt_has_ended(self) -> None:
        world = World()
        job, ticket = a_started_job(world)
        world.finisher().end(job, ticket, GiveBack())
        with pytest.raises(LeaseLost):
            report_started(world.row(job.id), store=world.store, clock=world.clock)


class TestResult:
    def test_is_bounded_before_it_is_stored(self) -> None:
        world = World()
        job, ticket = a_started_job(world)
        made = JobResult(values={"7": {"value": [math.nan], "image": "x" * 10**6}})
        world.finisher().end(job, ticket, Succeed(cached=False, nodes_cached=0), result=made)
        result = world.record(job.id).result
        assert result == JobResult(values={"7": {"value": ["NaN"]}}, values_cut=("7.image",))

    @pytest.mark.parametrize(
        ("made", "reason"),
        [
            (JobResult(), "its nodes have written neither a file nor a value"),
            (JobResult(warnings=(MISSING,)), "The warnings name the reasons"),
            (JobResult(empty_reason="it only slept"), "it only slept"),
        ],
    )
    def test_of_a_success_without_any_content_has_a_reason(
        self, made: JobResult, reason: str
    ) -> None:
        world = World()
        job, ticket = a_started_job(world)
        ended = world.finisher().end(
            job, ticket, Succeed(cached=False, nodes_cached=0), result=made
        )
        assert ended.status is Status.SUCCEEDED
        assert reason in (world.record(job.id).result.empty_reason or "")

    @pytest.mark.parametrize(
        "made",
        [
            JobResult(values={"7": {"text": ["a fox"]}}),
            JobResult(values={"7": {"text": "x" * 10**6}}),
        ],
    )
    def test_with_any_content_has_no_reason_to_be_empty(self, made: JobResult) -> None:
        world = World()
        job, ticket = a_started_job(world)
        world.finisher().end(job, ticket, Succeed(cached=False, nodes_cached=0), result=made)
        assert world.record(job.id).result.empty_reason is None

    @pytest.mark.parametrize("bug", [ValueError("too large"), TypeError("not JSON"), KeyError()])
    def test_that_cannot_be_stored_fails_the_job_and_costs_no_other_run(
        self, bug: Exception
    ) -> None:
        world = World()
        job, ticket = a_started_job(world)
        store = meanwhile(world.store, "put_result", raising(bug))
        ended = succeed(world.finisher(store), job, ticket)
        assert (ended.status, ended.gpu_seconds) == (Status.FAILED, 2.0)
        assert ended.error is not None
        assert (ended.error.type, ended.error.attempt) == ("not_stored", 1)
        assert world.tickets() == []

    def test_of_a_failure_that_cannot_be_stored_does_not_replace_its_error(self) -> None:
        world = World()
        job, ticket = a_started_job(world)
        finisher = world.finisher(meanwhile(world.store, "put_result", raising(ValueError())))
        ended = finisher.end(job, ticket, Fail(BOOM), result=a_result(an_artifact(job)))
        assert ended.error == replace(BOOM, attempt=1)

    @pytest.mark.parametrize(
        "ending",
        [
            Succeed(cached=False, nodes_cached=0),
            Fail(BOOM),
            Retry(BOOM),
            RetryAfterFault(BOOM, True),
        ],
    )
    def test_whose_row_the_store_refuses_for_good_fails_the_job_at_once(
        self, ending: Ending
    ) -> None:
        world = World()
        job, ticket = a_started_job(world)
        too_large = ValueError("Item size to update has exceeded the maximum allowed size")
        finisher = world.finisher(meanwhile(world.store, "save", raising(too_large)))
        ended = finisher.end(job, ticket, ending, gpu_seconds=2.0)
        assert (ended.status, ended.error) == (Status.FAILED, replace(NOT_STORED, attempt=1))
        assert ended.gpu_seconds == 2.0
        assert world.tickets() == []

    def test_that_is_out_of_reach_ends_nothing(self) -> None:
        world = World()
        job, ticket = a_started_job(world)
        store = meanwhile(world.store, "put_result", raising(Unavailable()))
        with pytest.raises(Unavailable):
            succeed(world.finisher(store), job, ticket)
        assert world.row(job.id) == job
