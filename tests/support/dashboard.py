"""The queries of the Grafana dashboard, compared with the metrics that our processes expose."""

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
class Query:
    """The series that one PromQL expression reads, and the labels that it needs on them."""

    series: frozenset[str]
    labels: frozenset[str]


def queries(prefix: str) -> list[Query]:
    """The dashboard's queries that read a series with this prefix."""
    targets = [t for p in json.loads(PATH.read_text())["panels"] for t in p.get("targets", ())]
    found = [_query(target["expr"], target["legendFormat"], prefix) for target in targets]
    return [query for query in found if query.series]


def mismatches(queries: Iterable[Query], exposed: Iterable[Metric]) -> list[str]:
    """The series and labels that no metric has, and the metrics that no query reads."""
    samples = [s for family in exposed for s in family.samples if not s.name.endswith("_created")]
    labels_of = {s.name: s.labels.keys() | ADDED_BY_A_SCRAPE for s in samples}
    faults = [
        f"{name} has none of {sorted(query.labels - labels_of.get(name, set()))}"
        for query in queries
        for name in query.series
        if name not in labels_of or not query.labels <= labels_of[name]
    ]
    read = {_family(name) for query in queries for name in query.series}
    return faults + sorted({_family(name) for name in labels_of} - read)


def _query(expression: str, legend: str, prefix: str) -> Query:
    grouped = re.findall(r"\bby \(([\w, ]+)\)", expression)
    matched = re.findall(r"[{,](\w+)=", expression)
    labels = {label for group in grouped for label in group.split(", ")}
    named = re.findall(r"{{(\w+)}}", legend)
    series = re.findall(rf"\b{prefix}\w+", expression)
    return Query(frozenset(series), frozenset({*labels, *matched, *named}))


def _family(name: str) -> str:
    return re.sub("_(bucket|sum|count)$", "", name)
