"""`comfyline admin edge-secret`: make the next secret by which the APIs know the edge.

The secret is a parameter of Systems Manager, and each value that it had stays readable under a
version. CloudFormation reads the versions that a deployment names (`infra/deployment.py`): the edge
sends the newest, and the APIs accept that one and the one before it. So the versions must be
deployed one after another, and this command makes none before the last one is deployed.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from comfyline.operate.stage import outputs_of

SECRET_BYTES = 32
DESCRIPTION = "Comfyline: the secret by which the APIs know the edge; see edge.secret_version"
OUTPUT = "EdgeSecretVersion"  # of the edge's stack: the version that is deployed


@dataclass(frozen=True, slots=True)
class EdgeSecret:
    """The secret of one stage's edge."""

    stage: str
    ssm: Any
    cloudformation: Any

    @property
    def name(self) -> str:
        """The parameter's name."""
        return parameter_name(self.stage)

    def next(self) -> tuple[int, bool]:
        """The version to deploy next, and whether it was made now.

        It was not if an earlier call has made it and no deployment has used it yet.
        """
        newest = self._newest()
        if newest > self._deployed():
            return newest, False
        made = self.ssm.put_parameter(
            Name=self.name,
            Value=secrets.token_urlsafe(SECRET_BYTES),
            Description=DESCRIPTION,
            Type="String",  # a SecureString is no use: CloudFormation could not read it
            Overwrite=True,
        )
        return int(made["Version"]), True

    def _newest(self) -> int:
        """The newest version, or 0 if the parameter does not exist."""
        try:
            return int(self.ssm.get_parameter(Name=self.name)["Parameter"]["Version"])
        except self.ssm.exceptions.ParameterNotFound:
            return 0

    def _deployed(self) -> int:
        """The version that the stage's edge sends, or 0 if it has no edge yet."""
        found = outputs_of(self.cloudformation, f"comfyline-{self.stage}-edge") or {}
        return int(found.get(OUTPUT, 0))


def parameter_name(stage: str) -> str:
    """The name of the parameter with the secret of a stage."""
    return f"/comfyline/{stage}/edge-secret"
