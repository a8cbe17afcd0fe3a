"""The console has a text for everything that the service may say."""

from __future__ import annotations

import re
from enum import StrEnum

import pytest

from comfyline.service.admin.alarms import AlarmState
from comfyline.service.fleet.scaling import Reason
from comfyline.service.fleet.workers import WorkerState
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


@pytest.mark.parametrize(
    ("name", "values"),
    [("states", WorkerState), ("reasons", Reason), ("alarmStates", AlarmState)],
)
def test_every_state_that_operators_are_shown_has_a_text(name: str, values: type[StrEnum]) -> None:
    blocks = re.findall(rf"  {name}: \{{(.*?)\}}", (TEXTS / "operate.ts").read_text(), re.DOTALL)
    assert len(blocks) == 2  # English and German
    for block in blocks:
        assert {*re.findall(r"(\w+):", block)} == {*values}


def test_every_alarm_has_a_section_of_the_runbook_that_the_page_finds() -> None:
    made = (ROOT / "infra" / "stacks" / "observability.py").read_text()
    names = re.findall(r'(?:name=|stopped\(\s*)"(\w+)"', made)
    assert len(names) > 10
    sections = (ROOT / "docs" / "runbook.md").read_text().split("\n## ")
    found = {section.partition("\n")[0] for section in sections}
    anchors = {re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower() for name in names}
    assert anchors <= found
