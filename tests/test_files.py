"""Atomic files, their modes, and locks between processes."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from nakawari.files import atomic_path, mapped_array, only_one, write_text


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_files_have_the_modes_that_the_umask_gives(tmp_path: Path):
    with atomic_path(tmp_path / "model") as folder:
        folder.mkdir(mode=0o700)
        save_file({"w": torch.zeros(2)}, folder / "weights.safetensors")
        (folder / "weights.safetensors").chmod(0o600)  # as safetensors leaves it where it writes by a private file
    assert stat.S_IMODE((tmp_path / "model" / "weights.safetensors").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "model").stat().st_mode) == 0o750
    with atomic_path(tmp_path / "script.sh") as file:
        file.touch()
        file.chmod(0o700)
    assert stat.S_IMODE((tmp_path / "script.sh").stat().st_mode) == 0o740


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path):
    (tmp_path / ".pool.0123abcd").mkdir()
    (tmp_path / ".pool.0123abcd" / "half").write_bytes(b"x" * 100)
    (tmp_path / ".other.0123abcd").mkdir()
    with only_one(tmp_path / "pool"):
        assert not (tmp_path / ".pool.0123abcd").exists()
    assert [path.name for path in tmp_path.iterdir()] == [".other.0123abcd"]


def test_a_mapped_file_has_its_room_on_the_disk(tmp_path: Path):
    array = mapped_array(tmp_path / "a.npy", np.uint8, (1000, 1000))
    assert array.shape == (1000, 1000)
    assert (tmp_path / "a.npy").stat().st_blocks * 512 >= 1_000_000


def test_a_link_stays_a_link(tmp_path: Path):
    (tmp_path / "disk").mkdir()
    for name in ("there.txt", "new.txt"):
        (tmp_path / name).symlink_to(Path("disk") / name)
    (tmp_path / "disk" / "there.txt").write_text("old")
    for name in ("there.txt", "new.txt"):
        write_text(tmp_path / name, name)
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / "disk" / name).read_text() == name
    (tmp_path / "disk" / "folder").mkdir()
    (tmp_path / "folder").symlink_to(tmp_path / "disk" / "folder")
    with atomic_path(tmp_path / "folder") as folder:
        folder.mkdir()
        (folder / "a").touch()
    assert (tmp_path / "folder").is_symlink() and (tmp_path / "disk" / "folder" / "a").is_file()
    assert sorted(path.name for path in (tmp_path / "disk").iterdir()) == ["folder", "new.txt", "there.txt"]
