"""Every permission is needed: taken away by an update of its stack, its user's smoke run fails.

`make iam-mutation` takes each away in turn, the ordinary run a sample that is drawn by a seed.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

import pytest

from localcloud.state import Endpoints
from tests.e2e.account import Account, Statement
from tests.e2e.caller import a_caller
from tests.e2e.smokes import SMOKES

pytestmark = [pytest.mark.usefixtures("local"), pytest.mark.timeout(900)]

SEED = 7
SAMPLE = 6

# Permissions that the platform uses, not our code, or that the emulator does not ask for.
EXCUSED = {
    "WriteLogs": "Lambda's own runtime writes the log",
    "SendTraces": "Lambda's own agent sends the traces",
    "FollowStream": "Lambda's poller reads the stream",
    "FollowDeadLetters": "Lambda's poller reads the queue",
    "FindStream": "Lambda's poller finds the stream",
    "ReportUndelivered": "Lambda's poller reports what it gave up on",
    "TellMissingUpload": "without it S3 answers 403 for a missing object; the emulator always 404",
    "ProtectTask": "the ECS agent asks for it, and only on AWS there is one",
}


@pytest.fixture(scope="module")
def account(endpoints: Endpoints) -> Account:
    return Account(endpoints)


@pytest.fixture(scope="module")
def statements(account: Account) -> list[Statement]:
    return [s for s in account.statements() if s.sid not in EXCUSED]


def test_every_role_has_a_smoke_run(statements: list[Statement]) -> None:
    assert {s.owner for s in statements} == set(SMOKES)


@pytest.mark.parametrize("name", SMOKES)
def test_a_smoke_run_passes_with_all_permissions(account: Account, name: str) -> None:
    SMOKES[name](a_caller(account))


def test_without_a_permission_its_users_smoke_run_fails(
    account: Account, statements: list[Statement], pytestconfig: pytest.Config
) -> None:
    pattern = pytestconfig.getoption("--mutations")
    if pattern:
        chosen = [s for s in statements if re.search(pattern, str(s))]
    else:
        chosen = random.Random(SEED).sample(statements, SAMPLE)
    assert chosen
    assert list(_needless(account, chosen)) == []


def _needless(account: Account, statements: list[Statement]) -> Iterator[str]:
    for statement in statements:
        with account.without(statement):
            try:
                SMOKES[statement.owner](a_caller(account))
            except Exception as refusal:  # noqa: BLE001 whatever it fails with, it fails
                print(f"{statement}: {type(refusal).__name__}")
            else:
                yield str(statement)
