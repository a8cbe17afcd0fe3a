"""The outputs of the stacks, as `comfyline keys` and `comfyline admin` read them for a stage."""

from __future__ import annotations

from types import SimpleNamespace

from comfyline.operate.stage import PARTS, StageSettings
from comfyline.service.settings import AuditSettings, QuarantineSettings
from tests.infra.templates import Templates, own_outputs


def test_the_stacks_have_every_setting_of_the_commands(aws: Templates) -> None:
    def describe_stacks(StackName: str) -> object:  # noqa: N803
        (part,) = (each for each in PARTS if StackName == f"comfyline-prod-{each}")
        names = own_outputs(getattr(aws, part))
        outputs = [{"OutputKey": name, "OutputValue": f"of {name}"} for name in names]
        return {"Stacks": [{"Outputs": outputs}]}

    settings = StageSettings("prod", SimpleNamespace(describe_stacks=describe_stacks))
    assert AuditSettings.from_environment(settings).keys_table == "of KeysTable"
    assert QuarantineSettings.from_environment(settings).parking_queue_url == "of ParkingQueueUrl"
