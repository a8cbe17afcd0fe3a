"""What every OwnerStore does."""

from __future__ import annotations

from datetime import timedelta
from itertools import chain

import pytest

from comfyline.contract.ids import OwnerId, random_job_id
from comfyline.service.access.slots import OWNER_SHARDS, Limits, OwnerStore, Refusal, Slot
from tests.support.builders import NOW, an_owner

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
CAP_OF_TWO = Limits(max_active_jobs=2)


def a_slot(n: int = 0) -> Slot:
    return Slot(random_job_id(NOW), NOW + n * SECOND)


def slots_of(store: OwnerStore, owner: OwnerId) -> set[Slot]:
    rows = chain.from_iterable(map(store.slots, range(OWNER_SHARDS)))
    return {slot for name, slot in rows if name == owner}


def fill(store: OwnerStore, owner: OwnerId, cap: int) -> list[Slot]:
    """Take slots until the cap refuses one; the taken slots."""
    taken = list[Slot]()
    while True:
        slot = a_slot(len(taken))
        refusal = store.take_slot(owner, slot, Limits(max_active_jobs=cap), NOW)
        if refusal is not None:
            assert refusal is Refusal.CAP
            return taken
        taken.append(slot)


class TestSlots:
    @pytest.mark.parametrize("cap", [1, 2, 25, 26, 77])
    def test_exactly_as_many_as_the_cap_can_be_taken(
        self, owner_store: OwnerStore, cap: int
    ) -> None:
        owner = an_owner()
        taken = fill(owner_store, owner, cap)
        assert len(taken) == cap
        assert slots_of(owner_store, owner) == set(taken)

    def test_a_slot_is_taken_once(self, owner_store: OwnerStore) -> None:
        owner, slot = an_owner(), a_slot()
        for _ in range(2):
            assert owner_store.take_slot(owner, slot, CAP_OF_TWO, NOW) is None
        assert len(fill(owner_store, owner, 2)) == 1

    def test_each_owner_has_its_own_slots(self, owner_store: OwnerStore) -> None:
        owners = [OwnerId(name) for name in ("a", "a.b", "a@b", "A", "ab")]
        for owner in owners:
            assert len(fill(owner_store, owner, 2)) == 2

    def test_a_free_slot_can_be_taken_and_is_freed_once(self, owner_store: OwnerStore) -> None:
        owner = an_owner()
        first, second = fill(owner_store, owner, 2)
        for _ in range(2):
            owner_store.free_slot(owner, first)
        assert slots_of(owner_store, owner) == {second}
        assert len(fill(owner_store, owner, 2)) == 1

    def test_freeing_leaves_the_slot_of_a_later_job_of_the_same_id(
        self, owner_store: OwnerStore
    ) -> None:
        owner, later = an_owner(), a_slot(1)
        owner_store.take_slot(owner, later, CAP_OF_TWO, NOW)
        owner_store.free_slot(owner, Slot(later.job_id, NOW))
        assert slots_of(owner_store, owner) == {later}

    def test_freeing_for_an_unknown_owner_is_no_error(self, owner_store: OwnerStore) -> None:
        owner_store.free_slot(an_owner(), a_slot())

    def test_the_oldest_come_first(self, owner_store: OwnerStore) -> None:
        owner, slots = an_owner(), [a_slot(n) for n in (3, 1, 2)]
        for slot in slots:
            owner_store.take_slot(owner, slot, Limits(max_active_jobs=50), NOW)
        assert owner_store.oldest_slots(owner, 2) == [slots[1], slots[2]]
        assert owner_store.oldest_slots(an_owner(), 2) == []


class TestOccupancy:
    def test_counts_taken_slots_and_the_posts_of_the_minute(self, owner_store: OwnerStore) -> None:
        owner, limits = an_owner(), Limits(max_active_jobs=60, jobs_per_minute=60)
        assert owner_store.occupancy(owner, NOW) == (0, 0)
        slots = [a_slot(n) for n in range(40)]
        for slot in slots:
            owner_store.take_slot(owner, slot, limits, NOW)
        owner_store.free_slot(owner, slots[0])
        assert owner_store.occupancy(owner, NOW) == (39, 40)
        assert owner_store.occupancy(owner, NOW + MINUTE) == (39, 0)
        assert owner_store.occupancy(an_owner(), NOW) == (0, 0)


class TestMove:
    def test_gives_the_slot_another_name_at_the_cap(self, owner_store: OwnerStore) -> None:
        owner, to = an_owner(), a_slot()
        first, second = fill(owner_store, owner, 2)
        assert owner_store.move_slot(owner, first, to)
        assert slots_of(owner_store, owner) == {second, to}
        assert fill(owner_store, owner, 2) == []
        owner_store.free_slot(owner, to)
        assert len(fill(owner_store, owner, 2)) == 1

    def test_frees_it_if_the_other_is_taken(self, owner_store: OwnerStore) -> None:
        owner = an_owner()
        first, second = fill(owner_store, owner, 2)
        assert owner_store.move_slot(owner, first, second)
        assert slots_of(owner_store, owner) == {second}
        assert len(fill(owner_store, owner, 2)) == 1

    def test_takes_nothing_if_the_slot_is_free(self, owner_store: OwnerStore) -> None:
        owner = an_owner()
        assert not owner_store.move_slot(owner, a_slot(), a_slot())
        assert slots_of(owner_store, owner) == set()


class TestAnotherCap:
    """The cap is that of the key; the slots of all keys of an owner count."""

    @pytest.mark.parametrize(("before", "after"), [(60, 10), (100, 99), (300, 40), (10, 60)])
    def test_refuses_until_the_owner_has_fewer(
        self, owner_store: OwnerStore, before: int, after: int
    ) -> None:
        owner = an_owner()
        taken = fill(owner_store, owner, before)
        for slot in taken[: max(0, before - after)]:
            assert fill(owner_store, owner, after) == []
            owner_store.free_slot(owner, slot)
        room = max(0, after - before)
        assert room <= len(fill(owner_store, owner, after)) <= room
        for slot in sorted(slots_of(owner_store, owner))[:5]:
            owner_store.free_slot(owner, slot)
        assert 1 <= len(fill(owner_store, owner, after)) <= 5
        assert len(slots_of(owner_store, owner)) <= after


class TestRate:
    LIMITS = Limits(jobs_per_minute=2)

    def test_each_minute_accepts_as_many_posts_as_the_rate(self, owner_store: OwnerStore) -> None:
        owner = an_owner()
        for now in (NOW, NOW + MINUTE, NOW + 5 * MINUTE):
            answers = [owner_store.take_slot(owner, a_slot(), self.LIMITS, now) for _ in range(3)]
            assert answers == [None, None, Refusal.RATE]

    def test_without_a_cap_no_slot_is_taken(self, owner_store: OwnerStore) -> None:
        owner = an_owner()
        owner_store.take_slot(owner, a_slot(), self.LIMITS, NOW)
        assert slots_of(owner_store, owner) == set()

    def test_a_post_over_the_cap_does_not_count(self, owner_store: OwnerStore) -> None:
        owner, limits = an_owner(), Limits(max_active_jobs=1, jobs_per_minute=2)
        first = a_slot()
        assert owner_store.take_slot(owner, first, limits, NOW) is None
        assert owner_store.take_slot(owner, a_slot(), limits, NOW) is Refusal.CAP
        owner_store.free_slot(owner, first)
        assert owner_store.take_slot(owner, a_slot(), limits, NOW) is None

    def test_a_post_over_the_rate_takes_no_slot(self, owner_store: OwnerStore) -> None:
        owner, limits = an_owner(), Limits(max_active_jobs=9, jobs_per_minute=2)
        answers = [owner_store.take_slot(owner, a_slot(), limits, NOW) for _ in range(3)]
        assert answers == [None, None, Refusal.RATE]
        assert len(slots_of(owner_store, owner)) == 2

    def test_a_clock_that_is_behind_does_not_start_a_new_count(
        self, owner_store: OwnerStore
    ) -> None:
        """A function of an older minute never lets the newer minute have more posts."""
        owner = an_owner()
        for _ in range(2):
            assert owner_store.take_slot(owner, a_slot(), self.LIMITS, NOW) is None
        owner_store.take_slot(owner, a_slot(), self.LIMITS, NOW - MINUTE)
        assert owner_store.take_slot(owner, a_slot(), self.LIMITS, NOW) is Refusal.RATE
