"""The CPU time of cold starts on Lambda, beside boto3 with the same clients.

The asset is that of a deployment for this machine's architecture, and runs under Python 3.13.
"""

from __future__ import annotations

import pytest

from infra.functions import FUNCTIONS
from infra.grants import COUNT_CALLS
from tools.cold_starts import GOAL, Lambda

# Of functions that load no models, because a call or a socket waits for them.
BUDGETS = {
    "AuthorizeHttp": 1.0,
    "AuthorizeSocket": 1.0,
    "SocketConnect": 1.0,
    "SocketDisconnect": 1.0,
}
ROUNDS = 8


@pytest.fixture(scope="module")
def on_lambda(tmp_path_factory: pytest.TempPathFactory) -> Lambda:
    prepared = Lambda.prepared(tmp_path_factory.mktemp("lambda"))
    if prepared is None:
        pytest.skip("cold starts are not measured: this machine has no Python 3.13")
    return prepared


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_start_is_within_its_budget(on_lambda: Lambda, name: str) -> None:
    """Other work on the machine spoils one round, but seldom all of them."""
    budget = BUDGETS.get(name, GOAL)
    ratios = list[float]()
    while len(ratios) < ROUNDS and (not ratios or min(ratios) > budget):
        ratios.append(on_lambda.cold_start(FUNCTIONS[name], tries=1).ratio)
    assert min(ratios) <= budget, ratios


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_start_makes_the_clients_and_compiles_nothing(on_lambda: Lambda, name: str) -> None:
    """A function with grants calls AWS. Budgets are counted in the process first, so they wait.

    The asset has the compiled methods of dataclasses. One that is missing there would be compiled
    as usual.
    """
    needed = [grant for grant in FUNCTIONS[name].grants if grant != COUNT_CALLS]
    start = on_lambda.seen(FUNCTIONS[name])
    assert bool(start.clients) == bool(needed), start.clients
    assert start.classes_compiled == 0
