"""Each permission is needed: without it, the smoke run of its function or worker fails.

`make test-long` removes each permission in turn. The ordinary run does so for a sample, which is
drawn with a fixed seed.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

import pytest

from infra.grants import UNUSED_LOCALLY
from localcloud.state import Endpoints
from tests.e2e.account import Account, Statement
from tests.e2e.caller import a_caller
from tests.e2e.conftest import SHARED_AUDIT, a_local_cloud
from tests.e2e.fleet import deployed_scaler
from tests.e2e.smokes import SMOKES

pytestmark = [pytest.mark.usefixtures("local"), pytest.mark.timeout(3600)]

SEED = 7
SAMPLE = 6
# Seconds. A run without a permission often waits for what never comes, so it waits only briefly.
BRIEF = 5.0


@pytest.fixture(scope="module")
def endpoints(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Endpoints]:
    """A deployment of their own.

    The smoke runs put rows into the tables that no use case would leave so, and a run without a
    permission leaves work undone. The audit of the shared deployment would find both.
    """
    if pytestconfig.getoption("--target") != "local":
        pytest.skip("the test changes policies, so it runs only on a local cloud")
    if (audit := pytestconfig.stash.get(SHARED_AUDIT, None)) is not None:
        audit.begin()  # this module is the last one
    with a_local_cloud(tmp_path_factory.mktemp("permissions")) as state:
        found = state.read()
        assert found is not None
        yield found


@pytest.fixture(scope="module")
def account(endpoints: Endpoints, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    account = Account(endpoints)
    with deployed_scaler(account.emulator, tmp_path_factory.mktemp("scaler")):
        yield account


@pytest.fixture(scope="module")
def statements(account: Account) -> list[Statement]:
    return [s for s in account.statements() if s.sid not in UNUSED_LOCALLY]


def test_every_role_has_a_smoke_run(statements: list[Statement]) -> None:
    assert {s.owner for s in statements} == set(SMOKES)


@pytest.mark.parametrize("name", SMOKES)
def test_a_smoke_run_passes_with_all_permissions(account: Account, name: str) -> None:
    SMOKES[name](a_caller(account))


def test_a_smoke_run_fails_without_one_of_its_permissions(
    account: Account, statements: list[Statement], pytestconfig: pytest.Config, is_long: bool
) -> None:
    pattern = pytestconfig.getoption("--mutations") or ("." if is_long else None)
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
                SMOKES[statement.owner](a_caller(account, BRIEF))
            except Exception as refusal:  # noqa: BLE001 any failure shows that the permission is needed
                print(f"{statement}: {type(refusal).__name__}")
            else:
                yield str(statement)
