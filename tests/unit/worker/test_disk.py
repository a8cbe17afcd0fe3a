"""Free space and refusals of the folders that jobs write to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gpu_worker.disk import Disk


def disk(folder: Path, free: int) -> Disk:
    return Disk((folder,), floor_bytes=100, free=lambda _folder: free)


@pytest.mark.parametrize(("free", "is_low"), [(99, True), (100, False), (101, False)])
def test_less_than_the_floor_is_low(tmp_path: Path, free: int, is_low: bool) -> None:
    assert disk(tmp_path, free).is_low() is is_low
    assert (disk(tmp_path, free).fault() is not None) is is_low


def test_the_shortage_is_told_in_mebibytes(tmp_path: Path) -> None:
    full = Disk((tmp_path,), floor_bytes=512 * 2**20, free=lambda _folder: 3 * 2**20)
    assert full.fault() == f"the disk of {tmp_path} has 3 MiB left, less than 512 MiB"


def test_the_real_free_space_is_read(tmp_path: Path) -> None:
    assert not Disk((tmp_path,), floor_bytes=1).is_low()
    assert Disk((tmp_path,), floor_bytes=2**60).is_low()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_refuses_a_file_is_a_fault(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert "cannot be written" in str(disk(tmp_path, 1000).fault())


def test_a_disk_that_fails_is_low_and_a_fault(tmp_path: Path) -> None:
    def broken(_folder: Path) -> int:
        raise OSError(5, "Input/output error")

    failing = Disk((tmp_path,), floor_bytes=0, free=broken)
    assert failing.is_low()
    assert failing.fault() == f"{tmp_path} cannot be read: Input/output error"


def test_a_folder_that_does_not_exist_yet_is_left_out(tmp_path: Path) -> None:
    missing = Disk((tmp_path / "output",), floor_bytes=2**60)
    assert (missing.is_low(), missing.fault()) == (False, None)


def test_a_probe_leaves_no_file(tmp_path: Path) -> None:
    assert disk(tmp_path, 1000).fault() is None
    assert list(tmp_path.iterdir()) == []
