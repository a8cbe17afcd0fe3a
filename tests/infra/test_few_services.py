"""The descriptions of services in the asset: all that the originals say, but for people."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import botocore
import pytest
from botocore.loaders import Loader
from botocore.session import Session

from infra.few_services import SERVICES, keep_few_services, without_documentation
from infra.functions import FUNCTIONS

DATA = Path(botocore.__file__).with_name("data")
OTHER = "sts"


@pytest.fixture(scope="module")
def reduced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("botocore")
    for name in (*SERVICES, OTHER):
        shutil.copytree(DATA / name, data / name)
    for path in DATA.glob("*.json"):
        shutil.copy(path, data)
    keep_few_services(data)
    return data


def model(path: Path) -> Any:
    return json.loads(gzip.decompress(path.read_bytes()))


@pytest.mark.parametrize("service", SERVICES)
def test_every_operation_and_shape_is_as_before(reduced: Path, service: str) -> None:
    for original in (DATA / service).glob("*/service-2.json.gz"):
        kept = json.loads((reduced / original.relative_to(DATA)).with_suffix("").read_bytes())
        before = model(original)
        assert kept["operations"].keys() == before["operations"].keys()
        assert kept["metadata"] == before["metadata"]
        for name, shape in before["shapes"].items():
            assert kept["shapes"][name].keys() == shape.keys() - {"documentation"}
            assert kept["shapes"][name].get("members", {}).keys() == shape.get("members", {}).keys()


def test_a_member_with_the_name_of_the_documentation_is_kept() -> None:
    shape = {"members": {"documentation": {"shape": "Text", "documentation": "For people."}}}
    kept = json.loads(json.dumps(shape), object_hook=without_documentation)
    assert kept == {"members": {"documentation": {"shape": "Text"}}}


@pytest.mark.parametrize("region", ["eu-west-1", "us-gov-west-1", "cn-north-1", "zz-new-1"])
@pytest.mark.parametrize("service", SERVICES)
def test_clients_have_the_same_addresses(reduced: Path, service: str, region: str) -> None:
    def address(*folders: str) -> Any:
        session = Session()
        loader = Loader(extra_search_paths=[*folders], include_default_search_paths=not folders)
        loader.is_builtin_path = lambda _path: True  # as in the asset
        session.register_component("data_loader", loader)
        keys = {"aws_access_key_id": "id", "aws_secret_access_key": "secret"}
        client = session.create_client(service, region, **keys)
        return client.meta.endpoint_url, client.meta.partition

    assert address(str(reduced)) == address()


def test_other_services_are_left_out(reduced: Path) -> None:
    assert {path.name for path in reduced.iterdir() if path.is_dir()} == SERVICES.keys()


def test_every_service_that_a_function_may_call_is_there() -> None:
    granted = {
        action.partition(":")[0]
        for row in FUNCTIONS.values()
        for grant in row.grants
        for action in grant.actions
    }
    assert granted <= {*SERVICES, *SERVICES.values()}
