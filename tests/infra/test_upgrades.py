"""A deployment can be changed: CloudFormation refuses to touch an export that a stack imports."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from infra.deployment import Deployment
from tests.infra.conftest import EDGE, UNUSUAL, deployment, synthesise
from tests.infra.templates import PARTS, Json, Templates, plain_name

# The only resources that CloudFormation may refuse to remove or to replace: those with data.
DURABLE = {"Jobs", "Keys", "Owners", "Artifacts"}


def imports(value: Any) -> Iterator[str]:
    """The names of the exports that a template imports."""
    match value:
        case {"Fn::ImportValue": name}:
            yield name
        case dict():
            for part in value.values():
                yield from imports(part)
        case list():
            for part in value:
                yield from imports(part)


def exports(template: Json) -> dict[str, str]:
    """Each export of a template with its value, as text."""
    outputs = template.get("Outputs", {}).values()
    return {o["Export"]["Name"]: json.dumps(o["Value"]) for o in outputs if "Export" in o}


def refused(old: Templates, new: Templates) -> set[str]:
    """The exports that make CloudFormation refuse the update from `old` to `new`.

    The stacks are updated one after another. An export cannot be removed or changed while a stack
    that has not been updated imports it. A stack that the new deployment lacks stays as it is.
    """
    order = sorted(PARTS, key=lambda part: (not _has(new, part), len(_before(new, part))))
    found = set[str]()
    for number, part in enumerate(order):
        kept = exports(getattr(new, part))
        changed = {n for n, v in exports(getattr(old, part)).items() if kept.get(n) != v}
        waiting = order[number + 1 :] if _has(new, part) else order[number:]
        found |= changed & {name for other in waiting for name in imports(getattr(old, other))}
    return found


def _has(templates: Templates, part: str) -> bool:
    return any(name.endswith(f"-{part}") for name in templates.manifest["artifacts"])


def _before(templates: Templates, part: str) -> set[str]:
    """The parts that are deployed before this one, of which some wait for others themselves."""
    if not _has(templates, part):
        return set()
    found = {stack.rpartition("-")[2] for stack in templates.dependencies(part)} & set(PARTS)
    for other in tuple(found):
        found |= _before(templates, other)
    return found


@pytest.mark.parametrize("variant", ["aws", "asg"])
def test_exactly_what_holds_data_is_exported(request: pytest.FixtureRequest, variant: str) -> None:
    """Whether or not a stack uses it, so that a stack can stop using it at any time."""
    templates: Templates = request.getfixturevalue(variant)
    values = [templates.render(v).partition(".") for v in templates.exports.values()]
    assert {(plain_name(name), attribute) for name, _, attribute in values} == {
        *((name, attribute) for name in DURABLE for attribute in ("", "Arn")),
        ("Jobs", "StreamArn"),
    }


CHANGES: dict[str, dict[str, Any]] = {
    "fewer signals": {
        "alarms": {"enabled": False},
        "observability": {"dashboard": False, "metrics": False},
    },
    "other places": {
        "worker": {"image": "elsewhere:2", "models_bucket": "models"},
        "network": {"cidr": "10.9.0.0/20"},
        "fleet": {"zones": ["eu-west-1c"]},
    },
    "an edge": {"edge": EDGE["edge"]},
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_choice_can_be_changed_and_changed_back(
    aws: Templates, tmp_path: Path, change: str
) -> None:
    changed = synthesise(tmp_path, deployment(**CHANGES[change]))
    assert refused(aws, changed) == set()
    assert refused(changed, aws) == set()


def test_every_choice_can_be_changed_at_once(tmp_path: Path, asg: Templates) -> None:
    plain: Deployment = deployment(stage=UNUSUAL["stage"])
    before = synthesise(tmp_path, plain)
    assert refused(before, asg) == set()
    assert refused(asg, before) == set()


def test_a_table_that_is_used_cannot_be_replaced(aws: Templates) -> None:
    """So that no upgrade replaces a table with data by an empty one."""
    replaced = json.loads(json.dumps(aws.data).replace("JobsDF1CC2D4", "JobsDF1CC2D5"))
    other = replace(aws, data=replaced)
    assert {plain_name(aws.render(aws.exports[n])) for n in refused(aws, other)} >= {"Jobs"}
