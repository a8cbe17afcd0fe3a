"""The console has a text for everything that the service may say."""

from __future__ import annotations

import re

import pytest

from comfyline.service.jobs.lifecycle import EVENT_NAMES, RULES
from infra import ROOT

TEXTS = ROOT / "console" / "src" / "texts"


@pytest.mark.parametrize("language", ["en", "de"])
def test_every_event_of_a_jobs_history_has_a_text(language: str) -> None:
    block = re.search(r"  events: \{(.*?)\n  \}", (TEXTS / f"{language}.ts").read_text(), re.DOTALL)
    assert block
    told = {*re.findall(r"^    (\w+):", block[1], re.MULTILINE)}
    recorded = [kind.__name__ for kind, rule in RULES.items() if rule.recorded]
    names = {re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower() for name in recorded} | {"submitted"}
    assert names <= EVENT_NAMES
    assert told == names
