"""How every JobStore changes a job."""

from __future__ import annotations

from dataclasses import replace

import pytest

from comfyline.contract.ids import random_job_id
from comfyline.service.errors import LeaseLost
from comfyline.service.jobs import events as ev
from comfyline.service.jobs.job import Job, Status
from comfyline.service.jobs.lifecycle import advance
from comfyline.service.jobs.progress import Progress
from comfyline.service.jobs.store import JobStore
from tests.contract.jobs.stored import LATER, SECOND, refused, saved, stored
from tests.support.builders import (
    LEASE,
    NOW,
    a_job,
    a_result,
    an_artifact,
    canceled,
    claimed,
    settled,
    succeeded,
)


class TestSave:
    def test_a_change_is_stored(self, job_store: JobStore) -> None:
        job = stored(job_store, a_job())
        after = claimed(job)
        assert job_store.save(job, after) == after
        assert job_store.get(job.id) == after

    def test_all_states_of_a_life_are_stored(self, job_store: JobStore) -> None:
        job = a_job()
        taken = claimed(job)
        started = advance(taken, ev.Started(attempt=1), NOW)
        given_back = advance(started, ev.Interrupted(attempt=1), NOW)
        again = claimed(given_back)
        started_again = advance(again, ev.Started(attempt=2), LATER)
        half = Progress(fraction=0.5, node="5", step=10, steps=20)
        halfway = advance(started_again, ev.Progressed(attempt=2, progress=half), LATER)
        done = advance(halfway, ev.Succeeded(attempt=2, gpu_seconds=1.5), LATER)
        states = (job, taken, started, given_back, again, started_again, halfway, done)
        assert job_store.get(saved(job_store, *states).id) == done

    def test_a_conflict_carries_the_row_of_the_winner(self, job_store: JobStore) -> None:
        job = stored(job_store, a_job())
        winner = job_store.save(job, claimed(job))
        assert refused(job_store.save, job, claimed(job)) == winner
        assert refused(job_store.save, job, canceled(job)) == winner

    def test_saving_the_same_change_twice_succeeds(self, job_store: JobStore) -> None:
        job = stored(job_store, a_job())
        after = claimed(job)
        job_store.save(job, after)
        assert job_store.save(job, after) == after

    def test_saving_the_same_change_twice_with_a_heartbeat_in_between_succeeds(
        self, job_store: JobStore
    ) -> None:
        job = stored(job_store, a_job())
        after = claimed(job)
        job_store.save(job, after)
        renewed = job_store.renew(after, LATER + LEASE)
        assert job_store.save(job, after) == renewed

    def test_another_change_of_the_same_version_is_a_conflict(self, job_store: JobStore) -> None:
        # If the store took the worker's progress for the cancel, the cancel would be lost.
        job = a_job()
        taken = claimed(job)
        before = saved(job_store, job, taken, advance(taken, ev.Started(attempt=1), NOW))
        progress = ev.Progressed(attempt=1, progress=Progress(fraction=0.5))
        winner = job_store.save(before, advance(before, progress, LATER))
        cancel = advance(before, ev.CancelRequested(), LATER)
        assert (winner.version, winner.lease) == (cancel.version, cancel.lease)
        assert refused(job_store.save, before, cancel) == winner

    def test_two_claims_of_one_worker_are_two_changes(self, job_store: JobStore) -> None:
        job = stored(job_store, a_job())
        first = claimed(job)
        assert first.lease is not None
        again = ev.Claimed(worker_id=first.lease.worker_id, lease_expires_at=LATER)
        job_store.save(job, first)
        assert refused(job_store.save, job, advance(job, again, LATER)) == first

    def test_a_heartbeat_and_a_watch_are_not_overwritten(self, job_store: JobStore) -> None:
        job = a_job()
        before = saved(job_store, job, claimed(job))
        job_store.renew(before, LATER + LEASE)
        job_store.watch(job.id, LATER)
        after = job_store.save(before, advance(before, ev.Started(attempt=1), NOW))
        assert after.status is Status.RUNNING
        assert after.lease is not None
        assert after.lease.expires_at == LATER + LEASE
        assert after.watched_until == LATER
        assert job_store.get(job.id) == after

    def test_a_change_that_no_client_sees_is_stored(self, job_store: JobStore) -> None:
        job = stored(job_store, a_job())
        resent = advance(job, ev.TicketResent(), LATER)
        assert job_store.save(job, resent) == resent
        assert job_store.save(job, resent) == resent

    def test_saving_an_unchanged_job_succeeds(self, job_store: JobStore) -> None:
        job = stored(job_store, a_job())
        assert job_store.save(job, job) == job

    def test_saving_a_removed_job_does_not_create_it(self, job_store: JobStore) -> None:
        job = a_job()
        assert refused(job_store.save, job, claimed(job)) is None
        assert job_store.get(job.id) is None


class TestRenew:
    def test_only_the_lease_is_extended(self, job_store: JobStore) -> None:
        job = a_job()
        taken = saved(job_store, job, claimed(job))
        assert taken.lease is not None
        renewed = job_store.renew(taken, LATER)
        assert renewed == replace(taken, lease=replace(taken.lease, expires_at=LATER))

    def test_the_answer_carries_the_cancel_flag(self, job_store: JobStore) -> None:
        job = a_job()
        taken = claimed(job)
        saved(job_store, job, taken, advance(taken, ev.CancelRequested(), NOW))
        assert job_store.renew(taken, LATER).is_canceling

    def test_an_earlier_attempt_is_refused(self, job_store: JobStore) -> None:
        job = a_job()
        taken = claimed(job)
        free = advance(taken, ev.LeaseExpired(), NOW + LEASE)
        latest = saved(job_store, job, taken, free, claimed(free, now=NOW + LEASE))
        with pytest.raises(LeaseLost):
            job_store.renew(taken, LATER)
        assert job_store.get(job.id) == latest

    @pytest.mark.parametrize("attempt", [0, 1, 2])
    def test_no_attempt_holds_a_job_that_was_given_back(
        self, job_store: JobStore, attempt: int
    ) -> None:
        job = a_job()
        taken = claimed(job)
        saved(job_store, job, taken, advance(taken, ev.Interrupted(attempt=1), NOW))
        with pytest.raises(LeaseLost):
            job_store.renew(replace(taken, attempt=attempt), LATER)

    def test_no_attempt_holds_an_ended_or_an_unknown_job(self, job_store: JobStore) -> None:
        job = a_job()
        saved(job_store, job, claimed(job), succeeded(job))
        for holder in (claimed(job), claimed(a_job())):
            with pytest.raises(LeaseLost):
                job_store.renew(holder, LATER)


class TestAnotherJobOfTheSameId:
    """The first job was removed and its Idempotency-Key was used again.

    The second job counts its attempts from 0 again, but attempts of the first stay fenced off.
    """

    def test_an_attempt_of_the_first_can_neither_renew_nor_change_the_second(
        self, job_store: JobStore
    ) -> None:
        first, second, taken = self._both_claimed(job_store)
        with pytest.raises(LeaseLost):
            job_store.renew(first, LATER + LEASE)
        for event in (ev.Started(attempt=1), ev.FailedWhileCanceling(attempt=1)):
            before = first if isinstance(event, ev.Started) else _canceling(first)
            assert refused(job_store.save, before, advance(before, event, LATER))
        assert job_store.get(second.id) == taken

    def test_a_change_of_the_first_does_not_count_as_saved(self, job_store: JobStore) -> None:
        first, _, taken = self._both_claimed(job_store)
        assert refused(job_store.save, replace(first, lease=None, attempt=0), first) == taken

    def test_the_second_does_not_show_the_files_of_the_first(self, job_store: JobStore) -> None:
        first, second, taken = self._both_claimed(job_store)
        made = an_artifact(taken)
        job_store.put_result(taken, a_result(made))
        job_store.put_result(first, a_result(*(an_artifact(first, n) for n in range(3))))
        started = job_store.save(taken, advance(taken, ev.Started(attempt=1), LATER))
        job_store.save(started, advance(started, ev.Succeeded(attempt=1, gpu_seconds=1.0), LATER))
        record = job_store.read(second.id)
        assert record is not None
        assert record.artifacts == (made,)
        assert made.key not in {an_artifact(first, n).key for n in range(3)}

    def _both_claimed(self, store: JobStore) -> tuple[Job, Job, Job]:
        """Attempt 1 of a removed job, the new job of its id, and attempt 1 of the new job."""
        old = a_job()
        first = claimed(old)
        store.delete(saved(store, old, first, *_ended(first)))
        second = stored(store, a_job(id=old.id, owner=old.owner, queued_at=LATER))
        assert first.lease is not None
        claim = ev.Claimed(worker_id=first.lease.worker_id, lease_expires_at=LATER + LEASE)
        taken = store.save(second, advance(second, claim, LATER))
        assert (taken.version, taken.attempt, taken.status) == (first.version, 1, first.status)
        return first, second, taken


def _canceling(job: Job) -> Job:
    return advance(job, ev.CancelRequested(), LATER)


def _ended(job: Job) -> list[Job]:
    canceling = advance(job, ev.CancelRequested(), NOW)
    ended = advance(canceling, ev.Stopped(attempt=job.attempt), NOW)
    return [canceling, ended, settled(ended)]


class TestWatch:
    def test_the_time_is_in_the_row(self, job_store: JobStore) -> None:
        job = stored(job_store, a_job())
        assert job_store.watch(job.id, LATER) == replace(job, watched_until=LATER)

    def test_the_time_is_never_shortened(self, job_store: JobStore) -> None:
        job = stored(job_store, a_job())
        for until, expected in [(LATER, LATER), (NOW, LATER), (LATER + SECOND, LATER + SECOND)]:
            row = job_store.watch(job.id, until)
            assert row is not None
            assert row.watched_until == expected

    def test_a_client_that_follows_the_owner_has_a_mark_of_its_own(
        self, job_store: JobStore
    ) -> None:
        job = stored(job_store, a_job())
        job_store.watch(job.id, LATER)
        for until in (LATER, NOW):
            row = job_store.watch(job.id, until, by_owner=True)
            assert row == replace(job, watched_until=LATER, owner_watched_until=LATER)

    def test_an_ended_job_does_not_change(self, job_store: JobStore) -> None:
        job = a_job()
        ended = saved(job_store, job, canceled(job))
        assert job_store.watch(job.id, LATER) == job_store.watch(job.id, LATER, by_owner=True)
        assert job_store.watch(job.id, LATER) == ended
        assert job_store.get(job.id) == ended

    def test_watching_an_unknown_job_does_not_create_it(self, job_store: JobStore) -> None:
        unknown = random_job_id(NOW)
        assert job_store.watch(unknown, LATER) is None
        assert job_store.get(unknown) is None
