"""The settings of a deployed stage, from the outputs of its stacks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from botocore.exceptions import ClientError

# `comfyline-<stage>-<part>`: the stacks whose outputs name what the commands use.
PARTS = ("data", "api")


class NoSuchStage(Exception):
    """The account has no such stage in this region; the message says where it was looked for."""


class StageSettings(Mapping[str, str]):
    """The outputs of a stage's stacks, under the names of environment variables.

    `KEYS_TABLE` is the output `KeysTable`. An environment variable with that name is not used, so
    that a command for one stage never changes another one.

    Raises:
        NoSuchStage: the stage's first stack does not exist.
    """

    def __init__(self, stage: str, cloudformation: Any) -> None:
        self._outputs: dict[str, str] = {}
        for part in PARTS:
            name = f"comfyline-{stage}-{part}"
            found = outputs_of(cloudformation, name)
            if found is None and part == PARTS[0]:
                region = cloudformation.meta.region_name
                raise NoSuchStage(f"there is no stack {name} in {region} with these credentials")
            self._outputs |= {key.lower(): value for key, value in (found or {}).items()}

    def __getitem__(self, variable: str) -> str:
        return self._outputs[variable.replace("_", "").lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._outputs)

    def __len__(self) -> int:
        return len(self._outputs)


def outputs_of(cloudformation: Any, name: str) -> dict[str, str] | None:
    """The outputs of the stack; None if there is no such stack."""
    try:
        (stack,) = cloudformation.describe_stacks(StackName=name)["Stacks"]
    except ClientError as error:
        # CloudFormation has no code of its own for a stack that is missing.
        if error.response["Error"]["Code"] == "ValidationError":
            return None
        raise
    return {each["OutputKey"]: each["OutputValue"] for each in stack.get("Outputs", ())}
