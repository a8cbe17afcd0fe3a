"""Synthesised templates, read as plain data."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

Json = dict[str, Any]
PARTS = ("data", "api", "worker", "fleet", "scaler", "observability", "edge", "firewall")


@dataclass(frozen=True)
class Templates:
    """The templates of one deployment.

    An emulator has none for fleet, scaler and alarms, and only some deployments have an edge.
    """

    data: Json
    api: Json
    worker: Json
    fleet: Json
    scaler: Json
    observability: Json
    edge: Json
    firewall: Json
    warnings: tuple[str, ...]  # of all stacks, as the CDK's CLI shows them
    manifest: Json

    @classmethod
    def read(cls, folder: Path, prefix: str) -> Templates:
        """The templates that a synthesis left in `folder`."""

        def template(part: str) -> Json:
            path = folder / f"{prefix}-{part}.template.json"
            parsed: Json = json.loads(path.read_text()) if path.exists() else {"Resources": {}}
            return parsed

        warnings = tuple(w for part in PARTS for w in _warnings(folder, f"{prefix}-{part}"))
        manifest = json.loads((folder / "manifest.json").read_text())
        return cls(*(template(part) for part in PARTS), warnings, manifest)

    @property
    def all(self) -> list[Json]:
        """Every template that the deployment has."""
        every = [getattr(self, part) for part in PARTS]
        return [template for template in every if template.get("Resources")]

    def dependencies(self, part: str) -> set[str]:
        """The stacks that are deployed before that of this part."""
        found = self.manifest["artifacts"].items()
        (stack,) = (of for name, of in found if name.endswith(f"-{part}"))
        return set(stack["dependencies"])

    @cached_property
    def exports(self) -> dict[str, Any]:
        """The value of each export, by its name."""
        outputs = [o for template in self.all for o in template.get("Outputs", {}).values()]
        return {o["Export"]["Name"]: o["Value"] for o in outputs if "Export" in o}

    def _output(self, stack: str, name: str) -> Any:
        """The value of an output that is not exported."""
        template = getattr(self, stack.rpartition("-")[2])
        return template["Outputs"][name]["Value"]

    def render(self, value: Any) -> str:
        """A value as text: references become `<logical id>` or `<logical id>.<attribute>`."""
        match value:
            case {"Ref": name}:
                return str(name)
            case {"Fn::GetAtt": [name, attribute]}:
                return f"{name}.{attribute}"
            case {"Fn::Join": [separator, parts]}:
                return str(separator).join(map(self.render, parts))
            case {"Fn::ImportValue": name}:
                return self.render(self.exports[name])
            case {"Fn::GetStackOutput": {"StackName": stack, "OutputName": name}}:
                return self.render(self._output(stack, name))
        return str(value)

    def functions(self) -> dict[str, Json]:
        """The properties of each function, by the name of its construct."""
        return {
            plain_name(name).removesuffix("Function"): properties
            for name, properties in resources(self.api, "AWS::Lambda::Function").items()
        }

    def environment(self, function: str) -> dict[str, str]:
        """The environment variables of a function, rendered."""
        variables = self.functions()[function]["Environment"]["Variables"]
        return {name: self.render(value) for name, value in variables.items()}

    def routes(self, api: str) -> dict[str, tuple[str, str]]:
        """The function behind each route key of an API, and how a caller is authorized."""
        integrations = resources(self.api, "AWS::ApiGatewayV2::Integration")
        found = {}
        for route in resources(self.api, "AWS::ApiGatewayV2::Route").values():
            if plain_name(self.render(route["ApiId"])) != api:
                continue
            integration = self.render(route["Target"]).removeprefix("integrations/")
            uri = self.render(integrations[integration]["IntegrationUri"])
            found[route["RouteKey"]] = (function_in(uri), route.get("AuthorizationType", "NONE"))
        return found


def _warnings(folder: Path, stack: str) -> Iterator[str]:
    path = folder / f"{stack}.metadata.json"
    for entries in json.loads(path.read_text()).values() if path.exists() else ():
        yield from (e["data"] for e in entries if e["type"] == "aws:cdk:warning")


def resources(template: Json, kind: str) -> dict[str, Json]:
    """The properties of a template's resources of one type, by logical id."""
    found: Mapping[str, Json] = template["Resources"]
    return {name: r.get("Properties", {}) for name, r in found.items() if r["Type"] == kind}


def own_outputs(template: Json) -> dict[str, Json]:
    """The outputs that our code declares. The CDK adds those that other stacks read."""
    outputs: Mapping[str, Json] = template.get("Outputs", {})
    made_by_cdk = ("ExportsOutput", "PublishOutput")
    return {name: o for name, o in outputs.items() if not name.startswith(made_by_cdk)}


def only(found: Mapping[str, Json]) -> Json:
    """The one resource."""
    (properties,) = found.values()
    return properties


def named(template: Json, kind: str, name: str) -> Json:
    """The one resource of that type with that construct's name."""
    matching = {k: v for k, v in resources(template, kind).items() if plain_name(k) == name}
    return only(matching)


def plain_name(logical_id: str) -> str:
    """A logical id without its hash."""
    return re.sub(r"[0-9A-F]{8}$", "", logical_id)


def function_in(text: str) -> str:
    """The name of the function to which a rendered ARN belongs."""
    found = re.search(r"(\w+?)Function[0-9A-F]{8}", text)
    assert found, text
    return found[1]


def statements(template: Json) -> list[tuple[str, Json]]:
    """Every statement of the roles' policies, with the logical id of its role or policy."""
    found = []
    for name, role in resources(template, "AWS::IAM::Role").items():
        for policy in role.get("Policies", []):
            found += [(name, statement) for statement in policy["PolicyDocument"]["Statement"]]
    for name, policy in resources(template, "AWS::IAM::Policy").items():
        found += [(name, statement) for statement in policy["PolicyDocument"]["Statement"]]
    return found


def listed(value: Any) -> list[Any]:
    """The value as a list, because IAM writes a list with one element as that element."""
    return value if isinstance(value, list) else [value]
