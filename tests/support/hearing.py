"""Checks of the messages that a subscriber received, also over several connections."""

from __future__ import annotations

from collections.abc import Sequence

from comfyline.contract.v1.socket import JobMessage, ProgressMessage, StatusMessage

Messages = Sequence[JobMessage]


def states(messages: Messages) -> list[tuple[int, str, int]]:
    """(version, status, attempt) of each state."""
    found = [m for m in messages if isinstance(m, StatusMessage)]
    return [(m.version, m.status, m.attempt) for m in found]


def passed_through(messages: Messages) -> list[tuple[str, int]]:
    """The states in order, without the repetition by the snapshot of a new connection."""
    every = [(status, attempt) for _, status, attempt in states(messages)]
    return [state for n, state in enumerate(every) if n == 0 or every[n - 1] != state]


def assert_each_once_in_order(messages: Messages) -> None:
    """Every message came once and in order, and the last one is the only end."""
    numbers = [(m.version, m.part) for m in messages if not getattr(m, "queue_position", None)]
    assert numbers == sorted(set(numbers))
    assert [m.type for m in messages].count("done") == 1
    assert messages[-1].type == "done"


def assert_progress_never_falls(messages: Messages) -> None:
    """Within an attempt, progress never falls."""
    attempt, fraction = 0, 0.0
    for message in messages:
        if isinstance(message, StatusMessage):
            begins_again = message.status == "queued" or message.attempt != attempt
            fraction = 0.0 if begins_again else fraction
            attempt = message.attempt
        if isinstance(message, StatusMessage | ProgressMessage):
            assert message.progress >= fraction, message
            fraction = message.progress


def assert_no_state_missed(messages: Messages, truth: Messages) -> None:
    """No state is missing after the first one. A later connection begins with the snapshot."""
    mine, all_of_them = passed_through(messages), passed_through(truth)
    assert mine == all_of_them[-len(mine) :]
