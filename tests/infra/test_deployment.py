"""Deployment files: defaults, allowed values, and the messages about wrong files."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from comfyline.operate.plan import Plan
from comfyline.service.access.people import SignInRules
from infra import ROOT
from infra.choices import CHOICES
from infra.deployment_file import WrongDeployment, parse_deployment, read_deployment
from infra.sections.workers import MAX_LEASE_SECONDS
from tests.infra.conftest import deployment

FILES = sorted(path.relative_to(ROOT) for path in (ROOT / "deployments").glob("*.toml"))


def refusal(**table: Any) -> str:
    """The message about a file with these keys and sections."""
    with pytest.raises(WrongDeployment) as refused:
        deployment(**table)
    return str(refused.value)


class TestFiles:
    @pytest.mark.parametrize("file", FILES, ids=str)
    def test_every_committed_file_is_right(self, file: Path) -> None:
        assert read_deployment(file).stage == file.stem.removesuffix(".example")

    def test_the_local_cloud(self) -> None:
        local = read_deployment(Path("deployments/local.toml"))
        assert (local.is_local, local.keeps_data, local.metrics_namespace) == (True, False, "")
        assert (local.worker.lease_seconds, local.worker.heartbeat_seconds) == (20, 5)
        assert local.api.allowed_origins == ("*",)

    def test_localstack_differs_only_in_the_architecture_of_its_functions(self) -> None:
        local, localstack = (
            read_deployment(Path(f"deployments/{name}.toml")) for name in ("local", "localstack")
        )
        same = {"stage": "local", "target": "local", "functions": local.functions}
        assert localstack.model_copy(update=same) == local
        assert localstack.architecture in ("arm64", "x86_64")

    def test_the_stage_is_the_files_name(self, tmp_path: Path) -> None:
        file = tmp_path / "staging.toml"
        file.write_text('worker.image = "image"')
        assert read_deployment(file).stage == "staging"
        file.write_text('stage = "blue"\nworker.image = "image"')
        assert read_deployment(file).stack_name("api") == "comfyline-blue-api"

    def test_a_file_that_is_missing(self, tmp_path: Path) -> None:
        with pytest.raises(WrongDeployment, match=r"none\.toml: No such file .*example"):
            read_deployment(tmp_path / "none.toml")

    @pytest.mark.parametrize("content", [b"stage = ", b"\xff\xfe", b"a = 1\na = 2"])
    def test_a_file_that_is_not_toml(self, tmp_path: Path, content: bytes) -> None:
        file = tmp_path / "prod.toml"
        file.write_bytes(content)
        with pytest.raises(WrongDeployment, match=r"prod\.toml is not TOML: "):
            read_deployment(file)

    def test_the_app_prints_the_message_only(self, tmp_path: Path) -> None:
        file = tmp_path / "prod.toml"
        file.write_text("max_worker = 3")
        context = f'{{"deployment": "{file}"}}'
        app = subprocess.run(
            [sys.executable, "-m", "infra.app"],
            cwd=ROOT,
            env={"CDK_CONTEXT_JSON": context, "PATH": str(Path(sys.executable).parent)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert app.returncode == 1
        assert app.stderr.splitlines() == [
            f"{file}: worker.image is required: image of the worker by its digest; "
            "a tag is accepted with a warning",
            f"{file}: unknown key max_worker; the nearest known key is scaling.max_workers "
            "(most workers at one time), a whole number from 0 to 5000",
        ]


class TestDefaults:
    def test_only_the_image_is_required(self) -> None:
        usual = deployment()
        assert (usual.target, usual.is_local, usual.architecture) == ("aws", False, "arm64")
        assert (usual.worker.lease_seconds, usual.worker.heartbeat_seconds) == (120, 30)
        assert usual.worker.lock_file == ROOT / "gpu_worker" / "engine.lock.toml"
        assert usual.metrics_namespace == "Comfyline/test"
        assert [key for key, choice in CHOICES.items() if choice.default == "required"] == [
            "worker.image"
        ]

    @pytest.mark.parametrize(
        ("table", "kept"),
        [
            ({"stage": "dev"}, False),
            ({"stage": "dev", "keep_data": True}, True),
            ({"stage": "prod"}, True),
            ({"stage": "staging"}, True),
            ({"stage": "staging", "keep_data": False}, False),
        ],
    )
    def test_data_is_kept_unless_the_stage_is_dev(self, table: dict[str, Any], kept: bool) -> None:
        assert deployment(**table).keeps_data is kept

    def test_every_key_is_described(self) -> None:
        assert len(CHOICES) > 30
        assert all(choice.description and choice.allowed for choice in CHOICES.values())


class TestLock:
    def test_a_team_may_have_its_own(self, tmp_path: Path) -> None:
        lock = tmp_path / "team.toml"
        lock.write_text((ROOT / "gpu_worker" / "engine.lock.toml").read_text())
        assert deployment(worker={"image": "i", "lock": str(lock)}).worker.lock_file == lock

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            (None, "cannot be read: No such file"),
            ("a =", "is not a lock: not TOML"),
            ("a = 1", "is not a lock: .*comfyui"),
        ],
    )
    def test_a_wrong_lock_deploys_nothing(
        self, tmp_path: Path, text: str | None, expected: str
    ) -> None:
        lock = tmp_path / "team.toml"
        if text is not None:
            lock.write_text(text)
        with pytest.raises(
            WrongDeployment, match=f"test.toml: worker.lock: .*team.toml {expected}"
        ):
            deployment(worker={"image": "image", "lock": str(lock)})


class TestRefusals:
    @pytest.mark.parametrize(
        ("table", "expected"),
        [
            ({"scalling": {}}, "unknown section [scalling]; the nearest known section is [scaling"),
            ({"env": "prod"}, "unknown key env; the nearest known key is "),
            ({"scaling": {"job_second": 3}}, "unknown key scaling.job_second; the nearest known "),
            ({"scaling": {"job_second": 3}}, "is scaling.job_seconds (GPU seconds of a usual job)"),
            ({"scaling": {"job_second": 3}}, ", a whole number from 1 to 21600"),
            ({"warm_hour": "mon-fri 07-18"}, "the nearest known key is scaling.warm_hours"),
            ({"fleet": {"max_workers": 3}}, "unknown key fleet.max_workers; the nearest known key"),
            ({"worker": {"image": "i", "lock": {"path": "x"}}}, "worker.lock must be a text such"),
            (
                {"alarms": {"mail": {"to": "x"}}},
                "unknown key alarms.mail; the nearest known key is",
            ),
        ],
    )
    def test_unknown_keys(self, table: dict[str, Any], expected: str) -> None:
        message = refusal(**table)
        assert message.startswith("test.toml: ")
        assert expected in message

    @pytest.mark.parametrize(
        ("table", "expected"),
        [
            ({"worker": {}}, "worker.image is required: image of the worker"),
            ({"worker": {"image": ""}}, "worker.image must be a text such as"),
            ({"worker": 3}, "worker must be a section, not 3"),
            ({"stage": "My_Stage"}, "stage must be up to 20 lower-case letters"),
            ({"stage": 3}, "stage must be up to 20 lower-case letters"),
            ({"target": "mars"}, 'target must be one of aws, local, localstack, not "mars"'),
            ({"keep_data": "perhaps"}, 'keep_data must be true or false, not "perhaps"'),
            ({"keep_data": 1}, "keep_data must be true or false, not 1"),
            ({"fleet": {"capacity": "fargate"}}, "fleet.capacity must be one of managed, asg"),
            ({"fleet": {"zones": ["eu-west-1"]}}, 'such as `eu-west-1a`, not "eu-west-1"'),
            ({"network": {"cidr": "10.0.0.0/8"}}, "network.cidr must be a range from /16 to /24"),
            ({"network": {"cidr": "10.0.0.999/16"}}, "network.cidr: 10.0.0.999/16 is no range"),
            ({"network": {"vpc_id": "mine"}}, "network.vpc_id must be the id of a VPC"),
            ({"network": {"vpc_id": "vpc-12345678"}}, "vpc_id and subnet_ids must be given"),
            ({"network": {"subnet_ids": ["subnet-12345678"]}}, "vpc_id and subnet_ids must be"),
            ({"network": {"security_group_ids": ["sg-12345678"]}}, "needs vpc_id"),
            ({"fleet": {"instance_types": ["g5.metal"]}}, 'such as `g6.xlarge`, not "g5.metal"'),
            ({"fleet": {"instance_types": []}}, "such as `g6.xlarge`, not []"),
            ({"fleet": {"instance_types": "g6.xlarge"}}, 'not "g6.xlarge"'),
            ({"scaling": {"max_workers": 5001}}, "whole number from 0 to 5000, not 5001"),
            ({"scaling": {"max_workers": "many"}}, 'whole number from 0 to 5000, not "many"'),
            ({"scaling": {"max_workers": "3"}}, 'whole number from 0 to 5000, not "3"'),
            ({"scaling": {"max_workers": 3.5}}, "whole number from 0 to 5000, not 3.5"),
            ({"scaling": {"max_workers": True}}, "whole number from 0 to 5000, not true"),
            ({"scaling": {"job_seconds": 0}}, "scaling.job_seconds must be a whole number from 1"),
            ({"api": {"allowed_origins": ["app.example.com"]}}, 'not "app.example.com"'),
            ({"api": {"allowed_origins": ["https://a.b/path"]}}, "api.allowed_origins must be"),
            ({"functions": {"architecture": "riscv"}}, "one of arm64, x86_64, host"),
            ({"alarms": {"oldest_job_minutes": 0}}, "alarms.oldest_job_minutes must be"),
        ],
    )
    def test_wrong_values_are_refused_with_what_is_allowed(
        self, table: dict[str, Any], expected: str
    ) -> None:
        message = refusal(**table)
        assert message.startswith("test.toml: ")
        assert expected in message

    @pytest.mark.parametrize("name", ["s3://models", "Team", "a", "a/b", "arn:aws:s3:::b"])
    def test_a_models_bucket_is_a_name(self, name: str) -> None:
        message = refusal(worker={"image": "i", "models_bucket": name})
        assert "worker.models_bucket must be the name of a bucket" in message

    @pytest.mark.parametrize(
        ("table", "expected"),
        [
            (
                {"scaling": {"min_workers": 11}},
                "scaling: min_workers (11) and warm_workers (0) must be at most max_workers (10)",
            ),
            ({"scaling": {"warm_hours": "mon-fri 07-18"}}, "warm_workers and warm_hours must be"),
            (
                {"scaling": {"warm_workers": 1}},
                "warm_workers and warm_hours must be given together",
            ),
            (
                {"scaling": {"warm_workers": 1, "warm_hours": "always"}},
                "scaling: warm_hours must be like 'mon-fri 07-18', not 'always'",
            ),
            (
                {"api": {"domain": "a.example.com"}},
                "api: domain, socket_domain and certificate_arn",
            ),
            (
                {"api": {"domain": "a.b", "socket_domain": "a.b", "certificate_arn": "arn"}},
                "api: socket_domain must differ from domain",
            ),
            (
                {"worker": {"image": "i", "lease_seconds": 15, "heartbeat_seconds": 5}},
                "worker: lease_seconds (15) must be more than three times heartbeat_seconds (5)",
            ),
        ],
    )
    def test_values_that_contradict_each_other(self, table: dict[str, Any], expected: str) -> None:
        assert expected in refusal(**table)

    @pytest.mark.parametrize(
        "url",
        [
            "http://a.example",
            "https://a.example/",
            "https://a.example?b=c",
            "a.example",
            "https://",
        ],
    )
    def test_the_public_address_is_a_base_of_links(self, url: str) -> None:
        assert "api.public_url must be a URL such as" in refusal(api={"public_url": url})

    @pytest.mark.parametrize("seconds", [0, MAX_LEASE_SECONDS + 1])
    def test_a_lease_is_no_longer_than_sqs_can_hide_a_message(self, seconds: int) -> None:
        message = refusal(worker={"image": "i", "lease_seconds": seconds})
        assert "worker.lease_seconds must be a whole number from 1 to 43200" in message

    def test_every_problem_has_a_line(self) -> None:
        lines = refusal(stage="-", fleet={"zones": 1, "kind": "gpu"}).splitlines()
        assert len(lines) == 3
        with pytest.raises(WrongDeployment, match=r"^other\.toml: "):
            parse_deployment({}, "other.toml")


def test_the_preflight_knows_the_defaults_of_a_deployment_file() -> None:
    """It cannot read the model, which operators' machines do not have."""
    chosen = parse_deployment({"stage": "x", "worker": {"image": "i"}}, "x.toml")
    assert Plan() == Plan(
        instance_types=chosen.fleet.instance_types,
        zones=chosen.fleet.zones,
        capacity=chosen.fleet.capacity,
        max_workers=chosen.scaling.max_workers,
        ondemand_workers=chosen.scaling.ondemand_workers,
        concurrency=chosen.functions.concurrency,
        key_arn=chosen.encryption.key_arn,
    )


class TestSignIn:
    GIVEN = {"issuer": "https://i.example", "client_id": "c", "default_scopes": "jobs"}  # noqa: RUF012

    def test_nobody_signs_in_unless_the_file_names_an_issuer(self) -> None:
        section = deployment().sign_in
        assert (section.as_setting, section.page_origins) == ("", ())

    def test_the_functions_read_what_the_file_says(self) -> None:
        section = deployment(sign_in={**self.GIVEN, "limits": {"max_active_jobs": 3}}).sign_in
        rules = SignInRules.parse(section.as_setting)
        assert rules is not None
        assert (rules.accepted, rules.limits) == (("c",), {"max_active_jobs": 3})
        assert rules.page_origins == ("https://i.example",)
        names = {field.name for field in fields(SignInRules)} - {"page_origins"}
        assert names == {*type(section).model_fields} - {"origins"}

    @pytest.mark.parametrize(
        ("changed", "said"),
        [
            ({"client_id": None}, "client_id or audiences"),
            ({"default_scopes": ""}, "default_scopes or scopes"),
            ({"default_scopes": "root"}, "default_scopes or scopes"),
            ({"default_scopes": "jobs keys"}, "default_scopes or scopes"),
            ({"issuer": "http://i.example"}, "issuer"),
            ({"issuer": "https://i.example?a"}, "issuer"),
            ({"issuer": "https://i.example/{tenantid}/v2.0"}, "issuer"),
            ({"limits": {"max_jobs": 1}}, "no limits max_jobs"),
            ({"limits": {"max_active_jobs": 0}}, "limits"),
            ({"leeway_seconds": 301}, "leeway_seconds"),
            ({"session_minutes": 721}, "session_minutes"),
            ({"origins": ("https://a.example; script-src *",)}, "origins"),
            ({"owners": {"a": "~waits"}}, "owners"),
            ({"scopes": {str(n): "jobs" for n in range(400)}}, "characters"),
        ],
    )
    def test_a_wrong_section_is_refused(self, changed: dict[str, Any], said: str) -> None:
        given = {name: v for name, v in {**self.GIVEN, **changed}.items() if v is not None}
        assert said in refusal(sign_in=given)
