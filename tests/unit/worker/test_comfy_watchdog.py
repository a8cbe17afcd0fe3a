"""When an engine is given up, and when it is not."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from gpu_worker.comfy.http import EngineGone, EngineQueue, EngineUnreachable
from gpu_worker.comfy.watchdog import Patience, Watchdog

PATIENCE = Patience(silent=100, pending=20, gone=10, deaf=50, disobedient=30)
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
    return Watchdog(PATIENCE, time)


def queue(running: Iterable[str] = (), pending: Iterable[str] = ()) -> EngineQueue:
    return EngineQueue(frozenset(running), frozenset(pending))


def answers(watchdog: Watchdog, time: Time, seconds: int, answer: EngineQueue) -> str | None:
    """The first fault, if the engine gives this answer every second for `seconds` s."""
    for _ in range(seconds):
        time.now += 1
        watchdog.queue_answered(ME, answer)
        if (fault := watchdog.fault()) is not None:
            return fault
    return None


def test_a_running_prompt_may_be_silent_for_a_while(watchdog: Watchdog, time: Time) -> None:
    assert answers(watchdog, time, 100, queue([ME])) is None
    assert answers(watchdog, time, 1, queue([ME])) == "prompt_silent"


def test_a_silent_prompt_in_a_busy_engine_runs_on(watchdog: Watchdog, time: Time) -> None:
    for _ in range(100):
        assert answers(watchdog, time, 90, queue([ME])) is None
        watchdog.engine_worked()
    assert answers(watchdog, time, 101, queue([ME])) == "prompt_silent"


def test_an_engine_is_looked_at_only_when_its_prompt_is_quiet(
    watchdog: Watchdog, time: Time
) -> None:
    assert answers(watchdog, time, 10, queue([ME])) is None
    assert not watchdog.is_quiet()
    assert answers(watchdog, time, 1, queue([ME])) is None
    assert watchdog.is_quiet()
    watchdog.prompt_moved()
    assert not watchdog.is_quiet()


def test_a_message_about_the_prompt_is_a_sign_of_life(watchdog: Watchdog, time: Time) -> None:
    assert answers(watchdog, time, 90, queue([ME])) is None
    watchdog.prompt_moved()
    assert answers(watchdog, time, 90, queue([ME])) is None


def test_a_prompt_waits_as_long_as_another_runs(watchdog: Watchdog, time: Time) -> None:
    assert answers(watchdog, time, 1000, queue([OTHER], [ME])) is None


def test_a_prompt_waits_only_a_while_if_nothing_runs(watchdog: Watchdog, time: Time) -> None:
    """The thread that executes prompts has died, and HTTP still answers."""
    assert answers(watchdog, time, 30, queue([], [ME])) == "prompt_never_started"


def test_the_time_of_a_silent_prompt_begins_when_it_runs(watchdog: Watchdog, time: Time) -> None:
    assert answers(watchdog, time, 500, queue([OTHER], [ME])) is None
    assert answers(watchdog, time, 100, queue([ME])) is None


def test_refused_connections_are_a_fault_soon(watchdog: Watchdog, time: Time) -> None:
    watchdog.unreachable(EngineGone("refused"))
    time.now += 11
    watchdog.unreachable(EngineGone("refused"))
    assert watchdog.fault() == "engine_gone"


def test_an_engine_that_answers_again_is_not_gone(watchdog: Watchdog, time: Time) -> None:
    watchdog.unreachable(EngineGone("refused"))
    assert answers(watchdog, time, 11, queue([ME])) is None


def test_missing_answers_are_a_fault_later(watchdog: Watchdog, time: Time) -> None:
    time.now += 49
    watchdog.unreachable(EngineUnreachable("late"))
    assert watchdog.fault() is None
    time.now += 2
    assert watchdog.fault() == "engine_deaf"


def test_an_interrupt_that_is_ignored_is_a_fault_in_the_end(watchdog: Watchdog, time: Time) -> None:
    watchdog.cancel_requested()
    assert answers(watchdog, time, 30, queue([ME])) is None
    watchdog.cancel_requested()
    assert answers(watchdog, time, 1, queue([ME])) == "cancel_ignored"
