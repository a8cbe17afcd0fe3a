"""When an engine is given up, and what is no reason to."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from gpu_worker.comfy.http import EngineGone, EngineQueue, EngineUnreachable
from gpu_worker.comfy.watchdog import Limits, Watchdog

LIMITS = Limits(silent=100, pending=20, gone=10, deaf=50, disobedient=30)
ME, OTHER = "me", "other"


class Time:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def watchdog(time: Time) -> Watchdog:
    return Watchdog(LIMITS, time)


def queue(running: Iterable[str] = (), pending: Iterable[str] = ()) -> EngineQueue:
    return EngineQueue(frozenset(running), frozenset(pending))


def answers(watchdog: Watchdog, time: Time, seconds: int, told: EngineQueue) -> str | None:
    """The engine answers so for that long; the first fault."""
    for _ in range(seconds):
        time.now += 1
        watchdog.answered(ME, told)
        if (fault := watchdog.fault()) is not None:
            return fault
    return None


def test_a_running_prompt_may_be_silent_for_a_while(watchdog: Watchdog, time: Time) -> None:
    assert answers(watchdog, time, 100, queue([ME])) is None
    assert answers(watchdog, time, 1, queue([ME])) == "prompt_silent"


def test_a_word_of_it_is_a_sign_of_life(watchdog: Watchdog, time: Time) -> None:
    assert answers(watchdog, time, 90, queue([ME])) is None
    watchdog.heard()
    assert answers(watchdog, time, 90, queue([ME])) is None


def test_a_prompt_waits_as_long_as_another_runs(watchdog: Watchdog, time: Time) -> None:
    assert answers(watchdog, time, 1000, queue([OTHER], [ME])) is None


def test_a_prompt_that_waits_for_nothing_never_starts(watchdog: Watchdog, time: Time) -> None:
    """The thread that executes is dead and HTTP lives on."""
    assert answers(watchdog, time, 30, queue([], [ME])) == "prompt_never_started"


def test_its_time_begins_when_it_runs(watchdog: Watchdog, time: Time) -> None:
    assert answers(watchdog, time, 500, queue([OTHER], [ME])) is None
    assert answers(watchdog, time, 100, queue([ME])) is None


def test_refused_connections_are_soon_enough(watchdog: Watchdog, time: Time) -> None:
    watchdog.unreachable(EngineGone("refused"))
    time.now += 11
    watchdog.unreachable(EngineGone("refused"))
    assert watchdog.fault() == "engine_gone"


def test_an_engine_that_came_back_is_not_gone(watchdog: Watchdog, time: Time) -> None:
    watchdog.unreachable(EngineGone("refused"))
    assert answers(watchdog, time, 11, queue([ME])) is None


def test_late_answers_are_borne_for_longer(watchdog: Watchdog, time: Time) -> None:
    time.now += 49
    watchdog.unreachable(EngineUnreachable("late"))
    assert watchdog.fault() is None
    time.now += 2
    assert watchdog.fault() == "engine_deaf"


def test_an_interrupt_that_is_ignored_is_asked_for_only_so_long(
    watchdog: Watchdog, time: Time
) -> None:
    watchdog.cancel_asked()
    assert answers(watchdog, time, 30, queue([ME])) is None
    watchdog.cancel_asked()
    assert answers(watchdog, time, 1, queue([ME])) == "cancel_ignored"
