"""Races of the in-memory store, with threads. The races of DynamoDB are tested on the emulator."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from comfyline.adapters.memory.jobs import InMemoryJobStore
from comfyline.service.jobs.store import Conflict
from tests.contract.jobs.stored import SECOND, stored
from tests.support.builders import NOW, a_job, claimed


class TestRaces:
    def test_one_of_many_concurrent_adds_wins(self) -> None:
        store = InMemoryJobStore()
        first = a_job()
        jobs = [replace(first, queued_at=NOW + n * SECOND) for n in range(50)]
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(store.add, jobs))
        winner = jobs[answers.index(None)]
        assert Counter(answers) == {None: 1, winner: len(jobs) - 1}

    def test_one_of_many_concurrent_claims_wins(self) -> None:
        store = InMemoryJobStore()
        job = stored(store, a_job())

        def try_to_claim(_: int) -> bool:
            try:
                store.save(job, claimed(job))
            except Conflict:
                return False
            return True

        with ThreadPoolExecutor(16) as pool:
            assert sum(pool.map(try_to_claim, range(50))) == 1
