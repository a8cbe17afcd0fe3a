"""What every OwnerStore does."""

from __future__ import annotations

from datetime import timedelta

from comfyline.contract.ids import JobId, OwnerId, random_job_id
from comfyline.service.access.slots import OWNER_SHARDS, Full, Limits, OwnerStore, Taken
from tests.support.builders import NOW, an_owner

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
CAP_OF_TWO = Limits(max_active_jobs=2)


def an_id() -> JobId:
    return random_job_id(NOW)


def slots_of(store: OwnerStore, owner: OwnerId) -> set[JobId]:
    rows = [row for shard in range(OWNER_SHARDS) for row in store.slots(shard)]
    return {job_id for name, slots in rows if name == owner for job_id in slots}


class TestSlots:
    def test_no_more_slots_are_taken_than_the_cap(self, owner_store: OwnerStore) -> None:
        owner, ids = an_owner(), [an_id() for _ in range(3)]
        taken = [owner_store.take_slot(owner, job_id, CAP_OF_TWO, NOW) for job_id in ids]
        assert taken[:2] == [Taken(True, NOW), Taken(True, NOW)]
        assert taken[2] == Full({ids[0]: NOW, ids[1]: NOW}, by_rate=False)
        assert slots_of(owner_store, owner) == set(ids[:2])

    def test_a_job_takes_its_slot_again_even_at_the_cap(self, owner_store: OwnerStore) -> None:
        owner, ids = an_owner(), [an_id(), an_id()]
        for job_id in ids:
            owner_store.take_slot(owner, job_id, CAP_OF_TWO, NOW)
        again = owner_store.take_slot(owner, ids[0], CAP_OF_TWO, NOW + SECOND)
        assert again == Taken(False, NOW + SECOND)

    def test_each_owner_has_its_own_slots(self, owner_store: OwnerStore) -> None:
        first, second, limits = an_owner(), an_owner(), Limits(max_active_jobs=1)
        assert isinstance(owner_store.take_slot(first, an_id(), limits, NOW), Taken)
        assert isinstance(owner_store.take_slot(second, an_id(), limits, NOW), Taken)

    def test_the_end_of_a_job_frees_its_slot(self, owner_store: OwnerStore) -> None:
        owner, job_id, limits = an_owner(), an_id(), Limits(max_active_jobs=1)
        owner_store.take_slot(owner, job_id, limits, NOW)
        owner_store.free_slot(owner, job_id, NOW + SECOND)
        owner_store.free_slot(owner, job_id, NOW + SECOND)
        assert isinstance(owner_store.take_slot(owner, an_id(), limits, NOW), Taken)

    def test_an_old_end_does_not_free_the_slot_of_a_later_job_of_the_same_id(
        self, owner_store: OwnerStore
    ) -> None:
        owner, job_id = an_owner(), an_id()
        owner_store.take_slot(owner, job_id, CAP_OF_TWO, NOW + MINUTE)
        owner_store.free_slot(owner, job_id, NOW)
        assert slots_of(owner_store, owner) == {job_id}

    def test_a_slot_that_was_taken_again_is_not_given_back(self, owner_store: OwnerStore) -> None:
        owner, job_id = an_owner(), an_id()
        first = owner_store.take_slot(owner, job_id, CAP_OF_TWO, NOW)
        second = owner_store.take_slot(owner, job_id, CAP_OF_TWO, NOW + SECOND)
        assert isinstance(first, Taken)
        assert isinstance(second, Taken)
        owner_store.give_back(owner, job_id, first)
        assert slots_of(owner_store, owner) == {job_id}
        owner_store.give_back(owner, job_id, second)
        assert slots_of(owner_store, owner) == set()

    def test_freeing_for_an_unknown_owner_is_no_error(self, owner_store: OwnerStore) -> None:
        owner_store.free_slot(an_owner(), an_id(), NOW)
        owner_store.give_back(an_owner(), an_id(), Taken(True, NOW))


class TestRate:
    LIMITS = Limits(jobs_per_minute=2)

    def test_each_minute_accepts_as_many_posts_as_the_rate(self, owner_store: OwnerStore) -> None:
        owner = an_owner()
        for now in (NOW, NOW + MINUTE, NOW + 5 * MINUTE):
            answers = [owner_store.take_slot(owner, an_id(), self.LIMITS, now) for _ in range(3)]
            assert [isinstance(answer, Taken) for answer in answers] == [True, True, False]
            assert isinstance(answers[2], Full)
            assert answers[2].by_rate

    def test_a_repeated_post_counts_too(self, owner_store: OwnerStore) -> None:
        owner, job_id = an_owner(), an_id()
        answers = [owner_store.take_slot(owner, job_id, self.LIMITS, NOW) for _ in range(3)]
        assert [isinstance(answer, Taken) for answer in answers] == [True, True, False]

    def test_a_post_over_the_cap_does_not_count(self, owner_store: OwnerStore) -> None:
        owner, limits = an_owner(), Limits(max_active_jobs=1, jobs_per_minute=2)
        first = an_id()
        owner_store.take_slot(owner, first, limits, NOW)
        refused = owner_store.take_slot(owner, an_id(), limits, NOW)
        assert refused == Full({first: NOW}, by_rate=False)
        owner_store.free_slot(owner, first, NOW)
        assert isinstance(owner_store.take_slot(owner, an_id(), limits, NOW), Taken)
