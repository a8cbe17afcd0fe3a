"""The row of an ended job: its remaining work, its due time, and its removal."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from comfyline.adapters.aws.jobs.table import DynamoJobStore
from comfyline.service.jobs import events as ev
from comfyline.service.jobs.due import SETTLE_DELAY, TIDY_DELAY
from comfyline.service.jobs.job import Job
from comfyline.service.jobs.lifecycle import advance
from comfyline.service.jobs.store import Conflict, JobStore
from tests.support.builders import NOW, a_job, canceled, running, settled, succeeded
from tests.support.due_jobs import due_jobs

MOMENT = timedelta.resolution
LATER = NOW + timedelta(minutes=7)


def ended(store: JobStore) -> Job:
    """A job that was canceled before any attempt: nothing to tidy."""
    job = a_job()
    store.add(job)
    return store.save(job, canceled(job))


def untidy(store: JobStore) -> Job:
    """A job that has ended after a lost attempt."""
    job = a_job()
    store.add(job)
    return store.save(job, succeeded(advance(running(job), ev.Interrupted(attempt=1), NOW)))


def unsettled_due(store: JobStore, now: datetime) -> list[Job]:
    return due_jobs(store, now, settled=False)


def settled_due(store: JobStore, now: datetime) -> list[Job]:
    return due_jobs(store, now, settled=True)


def removal(job: Job) -> datetime:
    assert job.expires_at is not None
    return job.expires_at


class TestDue:
    def test_as_before_its_end_until_it_is_settled_and_then_never_again(
        self, job_store: JobStore
    ) -> None:
        job = ended(job_store)
        assert job.due_at is not None
        assert unsettled_due(job_store, job.due_at - MOMENT) == []
        assert unsettled_due(job_store, job.due_at) == [job]
        job_store.save(job, settled(job))
        assert unsettled_due(job_store, removal(job)) == []
        assert settled_due(job_store, removal(job)) == []

    def test_first_for_its_void_files(self, job_store: JobStore) -> None:
        job = untidy(job_store)
        assert unsettled_due(job_store, NOW + TIDY_DELAY - MOMENT) == []
        assert unsettled_due(job_store, NOW + TIDY_DELAY) == [job]
        tidy = job_store.save(job, advance(job, ev.Tidied(), LATER))
        assert unsettled_due(job_store, NOW + SETTLE_DELAY - MOMENT) == []
        assert unsettled_due(job_store, NOW + SETTLE_DELAY) == [tidy]

    def test_for_its_void_files_also_after_its_settlement(self, job_store: JobStore) -> None:
        job = untidy(job_store)
        done = job_store.save(job, settled(job))
        assert unsettled_due(job_store, removal(job)) == []
        assert settled_due(job_store, NOW + TIDY_DELAY - MOMENT) == []
        assert settled_due(job_store, NOW + TIDY_DELAY) == [done]

    def test_later_if_its_settlement_has_failed(self, job_store: JobStore) -> None:
        job = ended(job_store)
        late = job_store.save(job, advance(job, ev.SettlementFailed(), LATER))
        assert unsettled_due(job_store, LATER + SETTLE_DELAY - MOMENT) == []
        assert unsettled_due(job_store, LATER + SETTLE_DELAY) == [late]

    def test_apart_from_live_jobs_once_it_is_settled(self, job_store: JobStore) -> None:
        job, live = untidy(job_store), a_job()
        done = job_store.save(job, settled(job))
        job_store.add(live)
        assert unsettled_due(job_store, removal(job)) == [live]
        assert settled_due(job_store, removal(job)) == [done]


class TestRaces:
    """settle_jobs and the sweeper write to one row, and its version no longer rises."""

    @pytest.mark.parametrize("first", [ev.Tidied(), ev.Settled()])
    def test_neither_note_is_made_from_an_outdated_row(
        self, job_store: JobStore, first: ev.Event
    ) -> None:
        job = untidy(job_store)
        second = ev.Settled() if isinstance(first, ev.Tidied) else ev.Tidied()
        noted = job_store.save(job, advance(job, first, LATER))
        with pytest.raises(Conflict) as conflict:
            job_store.save(job, advance(job, second, LATER))
        assert conflict.value.current == noted
        both = job_store.save(noted, advance(noted, second, LATER))
        assert (both.tidy_pending, both.settle_pending) == (False, False)
        assert both.due_at is None

    def test_a_note_may_be_saved_twice(self, job_store: JobStore) -> None:
        job = ended(job_store)
        assert job_store.save(job, settled(job)) == job_store.save(job, settled(job))

    def test_the_end_may_be_saved_again_after_the_note(self, job_store: JobStore) -> None:
        """The worker's first answer was lost, and settle_jobs was faster than its second try."""
        job = a_job()
        job_store.add(job)
        end = job_store.save(job, canceled(job))
        done = job_store.save(end, settled(end))
        assert job_store.save(job, canceled(job)) == done


class TestRemoval:
    def test_a_job_that_is_not_settled_is_neither_deleted_nor_replaced(
        self, job_store: JobStore
    ) -> None:
        job = ended(job_store)
        again = a_job(id=job.id, owner=job.owner, queued_at=removal(job))
        for remove in (lambda: job_store.delete(job), lambda: job_store.replace(job, again)):
            with pytest.raises(Conflict) as conflict:
                remove()
            assert conflict.value.current == job
        done = job_store.save(job, settled(job))
        job_store.delete(done)
        assert job_store.get(job.id) is None

    def test_a_job_that_is_not_settled_has_no_ttl(self, dynamo_job_store: DynamoJobStore) -> None:
        job = ended(dynamo_job_store)
        assert "ttl" not in row_of(dynamo_job_store, job)
        dynamo_job_store.save(job, settled(job))
        assert float(row_of(dynamo_job_store, job)["ttl"]["N"]) >= removal(job).timestamp()

    def test_a_job_that_ended_before_jobs_were_settled_counts_as_settled(
        self, dynamo_job_store: DynamoJobStore
    ) -> None:
        job = ended(dynamo_job_store)
        as_it_was = replace(job, settle_pending=False, due_at=job.expires_at)
        dynamo_job_store._client.update_item(
            TableName=dynamo_job_store._table,
            Key={"pk": {"S": job.id}, "sk": {"S": "job"}},
            UpdateExpression="REMOVE settle_pending SET due_shard = :shard, due_at = :due",
            ExpressionAttributeValues={
                ":shard": {"S": "7"},
                ":due": {"N": str(removal(job).timestamp() * 1000)},
            },
        )
        assert dynamo_job_store.get(job.id) == as_it_was
        assert due_jobs(dynamo_job_store, removal(job), settled=False) == [as_it_was]
        dynamo_job_store.delete(as_it_was)
        assert dynamo_job_store.get(job.id) is None


def row_of(store: DynamoJobStore, job: Job) -> dict[str, dict[str, str]]:
    key = {"pk": {"S": job.id}, "sk": {"S": "job"}}
    row: dict[str, dict[str, str]] = store._client.get_item(TableName=store._table, Key=key)["Item"]
    return row
