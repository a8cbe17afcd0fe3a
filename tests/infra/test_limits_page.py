"""docs/limits.md has every limit and budget of the code."""

from __future__ import annotations

from dataclasses import fields

from comfyline.contract import limits
from comfyline.contract.problems import PROBLEMS
from comfyline.operate import keys
from comfyline.service.access.budgets import BUDGETS
from comfyline.service.access.slots import Limits
from tools.limits_page import ANSWER, PAGE, REQUEST, page

TEXT = page()


def test_the_page_is_made_from_this_code() -> None:
    is_current = PAGE.read_text() == TEXT
    assert is_current, "docs/limits.md is not what the code says; run: make docs"


def test_every_limit_of_the_contract_has_a_row() -> None:
    named = [limit.constant for limit in (*REQUEST, *ANSWER) if limit.constant]
    assert sorted(named) == sorted(name for name in vars(limits) if name.startswith("MAX_"))


def test_every_budget_has_a_row() -> None:
    assert [budget.name for budget in BUDGETS if f"| `{budget.name}` |" not in TEXT] == []


def test_every_limit_of_a_key_is_an_option_and_on_the_page() -> None:
    parameters = keys.create.__annotations__
    for field in fields(Limits):
        assert field.name in parameters
        assert f"`--{field.name.replace('_', '-')}`" in TEXT


def test_every_error_is_one_of_the_contract_or_a_sentence() -> None:
    errors = [limit.beyond for limit in (*REQUEST, *ANSWER)]
    assert [e for e in errors if "_" in e and e not in PROBLEMS] == []
