"""The scaler's rule, on examples and as properties."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyline.service.fleet.scaling import Limits, Need, Seen, WarmHours, decide, needed
from tests.support.builders import NOW

LIMITS = Limits(
    max_workers=20,
    job_seconds=10,
    target_wait_seconds=60,
    boot_seconds=120,
    quiet_seconds=180,
)
counts = st.integers(0, 100_000)
spans = st.integers(0, 86_400).map(lambda seconds: timedelta(seconds=seconds))
seens = st.builds(
    Seen, at=st.just(NOW), waiting=counts, in_flight=counts, running=counts, oldest_wait=spans
)
limits = st.builds(
    lambda low, more, warm, job, target, boot, quiet: Limits(
        min_workers=low,
        max_workers=low + more,
        warm_workers=min(warm, low + more),
        warm_hours="mon-fri 07-18" if min(warm, low + more) else "",
        job_seconds=job,
        target_wait_seconds=target,
        boot_seconds=boot,
        quiet_seconds=quiet,
    ),
    *(st.integers(0, 50), st.integers(0, 5000), st.integers(0, 50)),
    *(st.integers(1, 20_000), st.integers(1, 20_000), st.integers(1, 3600)),
    st.integers(0, 3600),
)
histories = st.lists(
    st.builds(
        lambda seconds, workers: Need(NOW - timedelta(seconds=seconds), workers),
        st.integers(0, 7200),
        st.integers(0, 5000),
    ),
    max_size=8,
)


def seen(**what: object) -> Seen:
    return replace(Seen(at=NOW, waiting=0, in_flight=0, running=0), **what)  # type: ignore[arg-type]


class TestExamples:
    def test_nothing_is_nothing(self) -> None:
        assert decide(seen(), LIMITS).workers == 0

    def test_the_first_job_starts_a_worker_at_once(self) -> None:
        assert decide(seen(waiting=1), LIMITS).workers == 1

    def test_a_backlog_is_drained_in_the_target_time(self) -> None:
        assert decide(seen(waiting=60), LIMITS).workers == 10  # six jobs of 10 s each

    def test_no_more_than_the_limit(self) -> None:
        assert decide(seen(waiting=10_000), LIMITS).workers == 20

    def test_a_job_that_waits_behind_a_long_one_gets_its_own_worker(self) -> None:
        held = seen(waiting=1, in_flight=1, running=1)
        assert decide(held, LIMITS).workers == 1
        late = replace(held, oldest_wait=timedelta(seconds=181))
        assert decide(late, LIMITS).workers == 2

    def test_the_age_of_a_job_that_runs_is_no_lateness(self) -> None:
        running = seen(in_flight=1, running=1, oldest_wait=timedelta(hours=5))
        assert decide(running, LIMITS).workers == 1

    def test_it_shrinks_only_after_the_quiet_time(self) -> None:
        first = decide(seen(waiting=60), LIMITS)
        later = decide(seen(at=NOW + timedelta(seconds=179)), LIMITS, first.recent)
        assert later.workers == 10
        quiet = decide(seen(at=NOW + timedelta(seconds=180)), LIMITS, later.recent)
        assert quiet.workers == 0

    def test_warm_hours(self) -> None:
        warm = replace(LIMITS, warm_workers=2, warm_hours="mon-fri 07-18")
        monday = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)
        assert decide(seen(at=monday), warm).workers == 2
        assert decide(seen(at=monday.replace(hour=18)), warm).workers == 0
        assert decide(seen(at=monday - timedelta(days=1)), warm).workers == 0


class TestProperties:
    @given(seens, limits, histories)
    def test_within_the_limits(self, seen: Seen, limits: Limits, recent: list[Need]) -> None:
        workers = decide(seen, limits, recent).workers
        assert limits.least(seen.at) <= workers <= limits.max_workers

    @given(seens, limits, histories)
    def test_never_below_what_is_at_work(
        self, seen: Seen, limits: Limits, recent: list[Need]
    ) -> None:
        busy = min(seen.in_flight, seen.running)
        assert decide(seen, limits, recent).workers >= min(busy, limits.max_workers)

    @given(seens, limits)
    def test_leaves_zero_for_any_ticket_and_orders_no_worker_without_one(
        self, seen: Seen, limits: Limits
    ) -> None:
        tickets = seen.waiting + seen.in_flight
        assert (needed(seen, limits) > 0) == (tickets > 0)
        assert needed(seen, limits) <= tickets

    @given(seens, limits, st.integers(1, 1000))
    def test_more_work_never_means_fewer_workers(
        self, seen: Seen, limits: Limits, more: int
    ) -> None:
        busier = replace(seen, waiting=seen.waiting + more)
        assert needed(busier, limits) >= needed(seen, limits)
        later = replace(seen, oldest_wait=seen.oldest_wait + timedelta(seconds=more))
        assert needed(later, limits) >= needed(seen, limits)

    @given(limits, st.lists(st.tuples(counts, st.integers(1, 300)), min_size=1, max_size=30))
    def test_what_was_needed_within_the_quiet_time_is_kept(
        self, limits: Limits, waits: list[tuple[int, int]]
    ) -> None:
        now, recent, needs = NOW, tuple[Need, ...](), list[Need]()
        for waiting, pause in waits:
            now += timedelta(seconds=pause)
            looked = Seen(at=now, waiting=waiting, in_flight=0, running=0)
            needs.append(Need(now, min(needed(looked, limits), limits.max_workers)))
            decision = decide(looked, limits, recent)
            recent = decision.recent
            horizon = now - timedelta(seconds=limits.quiet_seconds)
            kept = max(n.workers for n in needs if n.at > horizon or n.at == now)
            assert decision.workers == max(kept, limits.least(now))

    @given(seens, limits, histories)
    def test_the_memory_stays_small(self, seen: Seen, limits: Limits, recent: list[Need]) -> None:
        remembered = decide(seen, limits, sorted(recent, key=lambda n: n.at)).recent
        assert len(remembered) <= len(recent) + 1
        quiet = timedelta(seconds=limits.quiet_seconds)
        assert all(n.at > seen.at - quiet or n.at == seen.at for n in remembered)


class TestWarmHours:
    @pytest.mark.parametrize(
        "text",
        ["", "mon", "mon-fri", "mon-fri 7-18", "mon-fri 25-26", "mon-fri 08-08", "x-y 01-02"],
    )
    def test_what_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match="warm_hours"):
            WarmHours.parse(text)

    def test_days_run_over_the_week_and_hours_over_midnight(self) -> None:
        nights = WarmHours.parse("sat-mon 22-06")
        saturday = datetime(2026, 11, 21, 22, tzinfo=UTC)
        assert nights.contain(saturday)
        assert not nights.contain(saturday - timedelta(hours=1))
        assert nights.contain(datetime(2026, 11, 24, 5, 59, tzinfo=UTC))  # Monday's night
        assert not nights.contain(datetime(2026, 11, 24, 22, tzinfo=UTC))


def test_limits_must_agree() -> None:
    with pytest.raises(ValueError, match="at most max_workers"):
        replace(LIMITS, min_workers=21)
    with pytest.raises(ValueError, match="greater than 0"):
        replace(LIMITS, job_seconds=0)
    with pytest.raises(ValueError, match="given together"):
        replace(LIMITS, warm_workers=1)
    with pytest.raises(ValueError, match="like 'mon-fri 07-18', not 'always'"):
        replace(LIMITS, warm_workers=1, warm_hours="always")
