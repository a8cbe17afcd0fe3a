"""The scaler's rule: examples and properties."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyline.service.fleet.scaling import Need, ScalingPolicy, Seen, WarmHours, decide, needed
from tests.support.builders import NOW

POLICY = ScalingPolicy(
    max_workers=20,
    job_seconds=10,
    target_wait_seconds=60,
    boot_seconds=120,
    quiet_seconds=180,
)
counts = st.integers(0, 100_000)
workers = st.integers(0, 5_000)
spans = st.integers(0, 86_400).map(lambda seconds: timedelta(seconds=seconds))
seens = st.builds(
    Seen,
    at=st.just(NOW),
    waiting=counts,
    in_flight=counts,
    running=workers,
    busy=workers,
    oldest_wait=spans,
)
policies = st.builds(
    lambda low, more, warm, job, target, boot, quiet: ScalingPolicy(
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


def seen(**changes: object) -> Seen:
    return replace(Seen(at=NOW, waiting=0, in_flight=0, running=0), **changes)  # type: ignore[arg-type]


class TestExamples:
    def test_without_tickets_there_are_no_workers(self) -> None:
        assert decide(seen(), POLICY).workers == 0

    def test_the_first_job_starts_a_worker_at_once(self) -> None:
        assert decide(seen(waiting=1), POLICY).workers == 1

    def test_a_backlog_is_finished_in_the_target_wait(self) -> None:
        assert decide(seen(waiting=60), POLICY).workers == 10  # six jobs of 10 s each

    def test_there_are_at_most_max_workers(self) -> None:
        assert decide(seen(waiting=10_000), POLICY).workers == 20

    def test_a_job_that_waits_behind_a_long_one_gets_its_own_worker(self) -> None:
        busy = seen(waiting=1, in_flight=1, running=1, busy=1)
        assert decide(busy, POLICY).workers == 1
        late = replace(busy, oldest_wait=timedelta(seconds=181))
        assert decide(late, POLICY).workers == 2

    def test_a_wait_that_is_over_starts_no_worker(self) -> None:
        running = seen(in_flight=1, running=1, busy=1, oldest_wait=timedelta(hours=5))
        assert decide(running, POLICY).workers == 1

    def test_the_fleet_shrinks_only_after_the_quiet_time(self) -> None:
        first = decide(seen(waiting=60), POLICY)
        later = decide(seen(at=NOW + timedelta(seconds=179)), POLICY, first.recent)
        assert later.workers == 10
        quiet = decide(seen(at=NOW + timedelta(seconds=180)), POLICY, later.recent)
        assert quiet.workers == 0

    def test_warm_workers_run_in_the_warm_hours(self) -> None:
        warm = replace(POLICY, warm_workers=2, warm_hours="mon-fri 07-18")
        monday = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)
        assert decide(seen(at=monday), warm).workers == 2
        assert decide(seen(at=monday.replace(hour=18)), warm).workers == 0
        assert decide(seen(at=monday - timedelta(days=1)), warm).workers == 0


class TestProperties:
    @given(seens, policies, histories)
    def test_the_number_of_workers_is_within_the_bounds(
        self, seen: Seen, policy: ScalingPolicy, recent: list[Need]
    ) -> None:
        workers = decide(seen, policy, recent).workers
        assert policy.least(seen.at) <= workers <= policy.max_workers

    @given(seens, policies, histories)
    def test_there_are_never_fewer_workers_than_busy_ones(
        self, seen: Seen, policy: ScalingPolicy, recent: list[Need]
    ) -> None:
        busy = min(seen.in_flight, seen.busy)
        assert decide(seen, policy, recent).workers >= min(busy, policy.max_workers)

    @given(seens, policies)
    def test_any_ticket_needs_a_worker_and_there_are_never_more_workers_than_tickets(
        self, seen: Seen, policy: ScalingPolicy
    ) -> None:
        tickets = seen.waiting + seen.in_flight
        assert (needed(seen, policy) > 0) == (tickets > 0)
        assert needed(seen, policy) <= tickets

    @given(seens, policies, st.integers(1, 1000))
    def test_more_work_never_means_fewer_workers(
        self, seen: Seen, policy: ScalingPolicy, more: int
    ) -> None:
        busier = replace(seen, waiting=seen.waiting + more)
        assert needed(busier, policy) >= needed(seen, policy)
        later = replace(seen, oldest_wait=seen.oldest_wait + timedelta(seconds=more))
        assert needed(later, policy) >= needed(seen, policy)

    @given(policies, st.lists(st.tuples(counts, st.integers(1, 300)), min_size=1, max_size=30))
    def test_the_fleet_keeps_the_highest_need_of_the_quiet_time(
        self, policy: ScalingPolicy, waits: list[tuple[int, int]]
    ) -> None:
        now, recent, needs = NOW, tuple[Need, ...](), list[Need]()
        for waiting, pause in waits:
            now += timedelta(seconds=pause)
            now_seen = Seen(at=now, waiting=waiting, in_flight=0, running=0)
            needs.append(Need(now, min(needed(now_seen, policy), policy.max_workers)))
            decision = decide(now_seen, policy, recent)
            recent = decision.recent
            horizon = now - timedelta(seconds=policy.quiet_seconds)
            kept = max(n.workers for n in needs if n.at > horizon or n.at == now)
            assert decision.workers == max(kept, policy.least(now))

    @given(seens, policies, histories)
    def test_few_needs_are_remembered(
        self, seen: Seen, policy: ScalingPolicy, recent: list[Need]
    ) -> None:
        remembered = decide(seen, policy, sorted(recent, key=lambda n: n.at)).recent
        assert len(remembered) <= len(recent) + 1
        quiet = timedelta(seconds=policy.quiet_seconds)
        assert all(n.at > seen.at - quiet or n.at == seen.at for n in remembered)


class TestWarmHours:
    @pytest.mark.parametrize(
        "text",
        ["", "mon", "mon-fri", "mon-fri 7-18", "mon-fri 25-26", "mon-fri 08-08", "x-y 01-02"],
    )
    def test_other_texts_are_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match="warm_hours"):
            WarmHours.parse(text)

    def test_days_may_span_the_end_of_the_week_and_hours_midnight(self) -> None:
        nights = WarmHours.parse("sat-mon 22-06")
        saturday = datetime(2026, 11, 21, 22, tzinfo=UTC)
        assert nights.contain(saturday)
        assert not nights.contain(saturday - timedelta(hours=1))
        assert nights.contain(datetime(2026, 11, 24, 5, 59, tzinfo=UTC))  # Monday's night
        assert not nights.contain(datetime(2026, 11, 24, 22, tzinfo=UTC))


def test_the_values_of_a_policy_must_agree() -> None:
    with pytest.raises(ValueError, match="at most max_workers"):
        replace(POLICY, min_workers=21)
    with pytest.raises(ValueError, match="greater than 0"):
        replace(POLICY, job_seconds=0)
    with pytest.raises(ValueError, match="given together"):
        replace(POLICY, warm_workers=1)
    with pytest.raises(ValueError, match="like 'mon-fri 07-18', not 'always'"):
        replace(POLICY, warm_workers=1, warm_hours="always")
