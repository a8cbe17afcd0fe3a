"""What the dashboard for Grafana asks Prometheus for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from prometheus_client.metrics_core import Metric

from tests.support.documents import ROOT

PATH = ROOT / "infra" / "grafana" / "comfyline.json"
ADDED_BY_A_SCRAPE = frozenset({"instance", "job"})


@dataclass(frozen=True, slots=True)
class Question:
    """One expression: the series in it, and the labels that it groups or names its lines by."""

    series: frozenset[str]
    labels: frozenset[str]


def questions(prefix: str) -> list[Question]:
    """Those that are about series of that prefix."""
    targets = [t for p in json.loads(PATH.read_text())["panels"] for t in p.get("targets", ())]
    asked = [_question(target["expr"], target["legendFormat"], prefix) for target in targets]
    return [question for question in asked if question.series]


def wrong(asked: Iterable[Question], told: Iterable[Metric]) -> list[str]:
    """What of the questions nobody answers, and what is told that none asks for."""
    samples = [s for family in told for s in family.samples if not s.name.endswith("_created")]
    there = {s.name: s.labels.keys() | ADDED_BY_A_SCRAPE for s in samples}
    complaints = [
        f"{name} has none of {sorted(question.labels - there.get(name, set()))}"
        for question in asked
        for name in question.series
        if name not in there or not question.labels <= there[name]
    ]
    read = {_family(name) for question in asked for name in question.series}
    return complaints + sorted({_family(name) for name in there} - read)


def _question(expression: str, legend: str, prefix: str) -> Question:
    grouped = re.findall(r"\bby \(([\w, ]+)\)", expression)
    matched = re.findall(r"[{,](\w+)=", expression)
    labels = {label for group in grouped for label in group.split(", ")}
    named = re.findall(r"{{(\w+)}}", legend)
    series = re.findall(rf"\b{prefix}\w+", expression)
    return Question(frozenset(series), frozenset({*labels, *matched, *named}))


def _family(name: str) -> str:
    return re.sub("_(bucket|sum|count)$", "", name)
