"""Interrupted, resumed and repeated jobs, and edited frames: nothing is lost or drawn twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import Result

from crossfade import CrossFade

Cli = Callable[..., Result]
TESTS = Path(__file__).parents[1]
KILLED = """
import os, signal, sys
from types import ModuleType, SimpleNamespace
sys.path.insert(0, sys.argv.pop(1))
from crossfade import CrossFade

class Fatal(CrossFade):
    def __call__(self, *args, **options):
        if len(self.calls) == 12:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(*args, **options)

module = ModuleType("nakawari.variants")
module.load = lambda name, device: SimpleNamespace(name=name, pipeline=Fatal(noise=0.2))
module.fingerprint = lambda name: f"hash of {name}"
module.check_name = lambda name: None
module.weights_bytes, module.LARGE = lambda name: 0, 1_000_000_000
sys.modules["nakawari.variants"] = module
from nakawari.cli.main import run
run()
"""


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Twenty-one keys, twenty gaps."""
    folder = tmp_path / "many"
    folder.mkdir()
    random = np.random.default_rng(4)
    for number in range(21):
        Image.fromarray(random.integers(0, 256, (8, 10, 3), dtype=np.uint8)).save(folder / f"k{number}.png")
    return folder


def test_killed_in_the_middle_and_started_again(cli: Cli, stub: CrossFade, many: Path, tmp_path: Path):
    words = ["interpolate", many, "--between", 3, "--format", "png,gif,mp4,sheet"]
    assert cli(*words, "-o", tmp_path / "uncut").exit_code == 0
    assert len(stub.calls) == 20
    command = [sys.executable, "-c", KILLED, TESTS, *words, "-o", tmp_path / "cut"]
    killed = subprocess.run(list(map(str, command)), env=os.environ, timeout=120, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "cut").exists()
    stub.calls.clear()
    result = cli(*words, "-o", tmp_path / "cut")
    assert result.exit_code == 0
    assert "8 of 20 gaps were drawn now" in result.stdout
    assert len(stub.calls) == 8
    assert contents(tmp_path / "cut") == contents(tmp_path / "uncut")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut", "many", "uncut"]


def test_only_what_changed_is_drawn(cli: Cli, stub: CrossFade, many: Path, tmp_path: Path):
    words = ["interpolate", many, "--between", 3, "-o", tmp_path / "out"]
    assert cli(*words).exit_code == 0
    first = contents(tmp_path / "out")
    for change, drawn in ((None, 0), (many / "k7.png", 2), (many / "k20.png", 1)):
        if change:
            Image.new("RGB", (10, 8), (9, 99, 199)).save(change)
        stub.calls.clear()
        result = cli(*words)
        assert result.exit_code == 0, result.stderr
        assert len(stub.calls) == drawn
    after = contents(tmp_path / "out")
    frames = [name for name in first if name[0] == "0" and first[name] != after[name]]
    assert sorted(frames) == [f"{number:04d}.png" for number in (*range(26, 33), *range(78, 82))]
    stub.calls.clear()
    assert cli(*words, "--seed", 1).exit_code == 0
    assert len(stub.calls) == 20


def test_transparent_keys_are_kept_too(cli: Cli, stub: CrossFade, keys: list[Path], tmp_path: Path):
    for key in keys:
        image = Image.open(key)
        image.putalpha(Image.linear_gradient("L").resize(image.size))
        image.save(key)
    for name in ("a", "b"):
        assert cli("interpolate", *keys, "-o", tmp_path / name, "--between", 2).exit_code == 0
    calls = len(stub.calls)
    assert cli("interpolate", *keys, "-o", tmp_path / "a", "--between", 2).exit_code == 0
    assert len(stub.calls) == calls
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_a_frame_changed_by_hand_is_refused_then_kept(cli: Cli, stub: CrossFade, keys: list[Path], tmp_path: Path):
    out = tmp_path / "out"
    words = ["interpolate", *keys, "-o", out, "--between", 3]
    assert cli(*words).exit_code == 0
    Image.new("RGB", (22, 14), (1, 2, 3)).save(out / "0003.png")
    before = contents(out)
    stub.calls.clear()
    refused = cli(*words, "--seed", 3)
    assert refused.exit_code == 2
    assert f"{out / '0003.png'} was changed since it was drawn" in refused.stderr
    assert not stub.calls
    assert contents(out) == before
    done = cli(*words, "--seed", 3, "--overwrite")
    assert done.exit_code == 0
    assert "0003.png was changed since it was drawn, and is replaced" in done.stderr
    assert contents(out)["0003.png"] != before["0003.png"]


def test_frames_of_others_are_never_left_to_be_imported(cli: Cli, stub: CrossFade, keys: list[Path], tmp_path: Path):
    out = tmp_path / "out"
    assert cli("interpolate", *keys, "-o", out, "--between", 9).exit_code == 0
    (out / "interpolation.json").unlink()  # nobody knows any more whose frames these are
    before = contents(out)
    result = cli("interpolate", *keys, "-o", out, "--between", 1, "--overwrite")
    assert result.exit_code == 2
    assert "0021.png) that would be mistaken for frames of this sequence" in result.stderr
    assert contents(out) == before


def test_interrupted_says_how_to_go_on(cli: Cli, stub: CrossFade, keys: list[Path], tmp_path: Path, monkeypatch):
    words = ["interpolate", *keys, "-o", tmp_path / "out", "--between", 3]
    draw = CrossFade.__call__

    def interrupted(self, *args, **options):
        if self.calls:
            raise KeyboardInterrupt
        return draw(self, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(CrossFade, "__call__", interrupted)
        result = cli(*words)
    assert result.exit_code == 130
    assert result.stderr == "nakawari: interrupted; 1 of 2 gaps are kept; run the same command to resume.\n"
    assert not (tmp_path / "out").exists()
    stub.calls.clear()
    assert cli(*words).exit_code == 0
    assert len(stub.calls) == 1


def test_a_full_disk_keeps_what_is_whole(cli: Cli, stub: CrossFade, keys: list[Path], tmp_path: Path, monkeypatch):
    words = ["interpolate", *keys, "-o", tmp_path / "out", "--between", 3]

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("nakawari.interpolation.output.write_image", full)
        result = cli(*words)
    assert result.exit_code == 1
    assert "No space left on device" in result.stderr
    assert "2 of 2 gaps are kept; run the same command to resume" in result.stderr
    with monkeypatch.context() as patch:
        patch.setattr(np, "savez_compressed", full)
        stored = cli(*words, "--seed", 8)
    assert stored.exit_code == 1
    assert "A finished gap could not be stored (No space left on device)" in stored.stderr
    assert "unfinished" not in result.stderr + stored.stderr
    stub.calls.clear()
    assert cli(*words).exit_code == 0
    assert not stub.calls


def test_a_target_that_cannot_be_written_is_refused_first(cli: Cli, stub: CrossFade, keys: list[Path], tmp_path: Path):
    (tmp_path / "file").write_text("")
    result = cli("interpolate", *keys, "-o", tmp_path / "file" / "out")
    assert result.exit_code == 1
    assert "is not a folder" in result.stderr
    result = cli("interpolate", *keys, "-o", "/proc/out")
    assert result.exit_code == 1
    assert "/proc cannot be written" in result.stderr
    assert not stub.calls


def test_the_record_holds_what_was_used(cli: Cli, stub: CrossFade, keys: list[Path], tmp_path: Path, monkeypatch):
    from types import SimpleNamespace

    config = SimpleNamespace(max_frames=16, default_steps=11, default_guidance=2.5)
    monkeypatch.setattr(CrossFade, "config", config)
    stub.scheduler = object()
    for words, steps in ((("--between", 2), 11), (("--between", 2, "--steps", 4), 4)):
        assert cli("interpolate", *keys, "-o", tmp_path / "out", *words).exit_code == 0
        record = json.loads((tmp_path / "out" / "interpolation.json").read_text())
        assert (record["steps"], record["guidance"], record["scheduler"]) == (steps, 2.5, "object")
    assert record["model_hash"] == "hash of mini"
    assert [key["path"] for key in record["keys"]] == [str(key) for key in keys]
    assert all(len(key["sha256"]) == 64 for key in record["keys"])
    assert set(record["hashes"]) == set(record["files"]) - {"interpolation.json"}
    assert [gap["shares"] for gap in record["gaps"]] == [pytest.approx([1 / 3, 2 / 3])] * 2
