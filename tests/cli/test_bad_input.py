"""Bad input on the command line: a one-sentence error, exit status 1 or 2, no partial files."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import Result

import nakawari
from crossfade import CrossFade

Cli = Callable[..., Result]


@pytest.fixture
def desk(tmp_path: Path, keys: list[Path]) -> Path:
    """A folder with valid keys and all kinds of invalid files."""
    Image.new("RGB", (24, 14)).save(tmp_path / "wide.png")
    (tmp_path / "cut.png").write_bytes(keys[0].read_bytes()[:200])
    (tmp_path / "zero.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "clip.mp4").write_bytes(b"not a video")
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "model.ckpt").write_bytes(b"not a checkpoint")
    (tmp_path / "zero.ckpt").write_bytes(b"")
    (tmp_path / "recipe.yaml").write_text("no_such_key: 1\n")
    Image.fromarray(np.zeros((4, 4), np.int32)).save(tmp_path / "deep.tif")
    for name in ("empty", "taken", "one", "mixed"):
        (tmp_path / name).mkdir()
    (tmp_path / "taken/notes.txt").write_text("mine")
    (tmp_path / "one/a.png").write_bytes(keys[0].read_bytes())
    for name in ("key1.png", "cut.png"):
        (tmp_path / "mixed" / name).write_bytes((tmp_path / name).read_bytes())
    return tmp_path


CASES = {
    "missing key": (1, "key1.png nowhere.png", "nowhere.png does not exist"),
    "missing folder": (1, "nowhere", "nowhere does not exist"),
    "truncated PNG": (1, "key1.png cut.png", "cut.png is a damaged or truncated image"),
    "zero bytes": (1, "key1.png zero.png", "zero bytes"),
    "not an image": (1, "key1.png text.png", "not an image"),
    "32-bit image": (1, "key1.png deep.tif", "32-bit"),
    "two sizes": (1, "key1.png wide.png", "wide.png is 24x14 but"),
    "empty folder": (1, "empty", "holds no images"),
    "broken file in a folder": (1, "mixed", "cut.png"),
    "folder of one key": (2, "one", "two or more key drawings, not 1"),
    "one key": (2, "key1.png", "two or more"),
    "one key with loop": (2, "key1.png --loop", "two or more"),
    "no key": (2, "", "Missing argument"),
    "video as key": (2, "key1.png clip.mp4", "is a video"),
    "too few counts": (2, "key1.png key2.png key3.png --loop --between 3,5", "3 gaps, but 2 counts"),
    "too many counts": (2, "key1.png key2.png --between 3,5", "1 gap, but 2 counts"),
    "negative count": (2, "key1.png key2.png --between=-3", "-3 in-betweens"),
    "count in words": (2, "key1.png key2.png --between seven", "not whole numbers"),
    "absurd count": (2, "key1.png key2.png --between 100000", "0 to 1000"),
    "no steps": (2, "key1.png key2.png --steps 0", "--steps"),
    "steps in words": (2, "key1.png key2.png --steps many", "--steps"),
    "guidance not a number": (2, "key1.png key2.png --guidance nan", "--guidance"),
    "no speed": (2, "key1.png key2.png --fps 0", "--fps"),
    "negative seed": (2, "key1.png key2.png --seed=-1", "--seed"),
    "no batch": (2, "key1.png key2.png --batch 0", "--batch"),
    "unknown device": (2, "key1.png key2.png --device tpu", "tpu"),
    "unknown format": (2, "key1.png key2.png --format png,avi", "'avi' is not known"),
    "unknown option": (2, "key1.png key2.png --tween 3", "--tween"),
}


@pytest.mark.parametrize(("status", "words", "sentence"), CASES.values(), ids=CASES)
def test_interpolate(
    cli: Cli, stub: CrossFade, desk: Path, monkeypatch: pytest.MonkeyPatch, status: int, words: str, sentence: str
):
    monkeypatch.chdir(desk)
    before = listing(desk)
    assert_one_sentence(cli("interpolate", *words.split(), "-o", "out"), status, sentence)
    assert listing(desk) == before


OUTPUTS = {
    "folder of others": (2, "taken", "notes.txt"),
    "a file": (2, "file", "is a file"),
    "below a file": (1, "file/out", "is not a folder"),
    "the keys' own folder": (2, ".", "holds the key drawing"),
    "unknown suffix": (2, "clip.avi", "cannot be written as .avi"),
    "file that exists": (2, "clip.mp4", "exists already"),
    "format for one file": (2, "new.gif --format png", "--format does not apply"),
}


@pytest.mark.parametrize(("status", "words", "sentence"), OUTPUTS.values(), ids=OUTPUTS)
def test_output(
    cli: Cli, stub: CrossFade, desk: Path, monkeypatch: pytest.MonkeyPatch, status: int, words: str, sentence: str
):
    monkeypatch.chdir(desk)
    before = listing(desk)
    assert_one_sentence(cli("interpolate", "key1.png", "key2.png", "-o", *words.split()), status, sentence)
    assert listing(desk) == before


OTHERS = {
    "unknown command": (2, "interpolat", "Did you mean 'interpolate'"),
    "missing recipe": (2, "train nowhere.yaml", "nowhere.yaml"),
    "recipe with an unknown key": (2, "train recipe.yaml", "no_such_key"),
    "missing checkpoint": (1, "convert nowhere.ckpt -o out", "nowhere.ckpt"),
    "not a checkpoint": (1, "convert model.ckpt -o out", "model.ckpt"),
    "empty checkpoint": (1, "convert zero.ckpt -o out", "zero.ckpt"),
    "unknown dtype": (2, "convert model.ckpt -o out --dtype int3", "int3"),
}


@pytest.mark.parametrize(("status", "words", "sentence"), OTHERS.values(), ids=OTHERS)
def test_other_commands(cli: Cli, desk: Path, monkeypatch: pytest.MonkeyPatch, status: int, words: str, sentence: str):
    monkeypatch.chdir(desk)
    before = listing(desk)
    assert_one_sentence(cli(*words.split()), status, sentence)
    assert listing(desk) == before


def test_unknown_model(cli: Cli, keys: list[Path], tmp_path: Path):
    result = cli("interpolate", *keys, "-o", tmp_path / "out", "--model", "nosuch")
    assert_one_sentence(result, 1, "'nosuch' is not a model")
    assert not (tmp_path / "out").exists()


def without_kept(files: dict[str, bytes | None]) -> dict[str, bytes | None]:
    """All files except the finished gaps kept beside `out`."""
    return {name: data for name, data in files.items() if not name.startswith(".out.unfinished")}


def test_full_disk(cli: Cli, stub: CrossFade, desk: Path, keys: list[Path], monkeypatch: pytest.MonkeyPatch):
    save = Image.Image.save

    def full(image: Image.Image, path: Path, *args: object, **options: object):
        save(image, path, *args, **options)
        if path.parent.name.startswith(".out") and "0003" in path.name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Image.Image, "save", full)
    before = listing(desk)
    result = cli("interpolate", *keys, "-o", desk / "out")
    assert_one_sentence(result, 1, "No space left on device")
    assert "2 of 2 gaps are kept; run the same command to resume" in result.stderr
    assert without_kept(listing(desk)) == before


def test_model_that_fails(cli: Cli, stub: CrossFade, keys: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*_args: object, **_options: object):
        raise RuntimeError("two\nlines")

    monkeypatch.setattr(CrossFade, "__call__", fail)
    words = ("interpolate", *keys, "-o", tmp_path / "out")
    assert_one_sentence(cli(*words), 1, "unexpected RuntimeError: two lines; run again with --debug")
    shown = cli(*words, "--debug")
    assert shown.exit_code == 1
    assert "Traceback" in shown.stderr
    assert not (tmp_path / "out").exists()


def test_interrupted(cli: Cli, stub: CrossFade, keys: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupt(*_args: object, **_options: object):
        raise KeyboardInterrupt

    monkeypatch.setattr("nakawari.interpolation.output.write_gif", interrupt)
    before = listing(tmp_path)
    result = cli("interpolate", *keys, "-o", tmp_path / "out")
    assert result.exit_code == 130
    assert_one_sentence(result, 130, "2 of 2 gaps are kept; run the same command to resume")
    assert without_kept(listing(tmp_path)) == before


@pytest.mark.parametrize("said", ["", "interrupted with 2 of 3 windows made; they are kept."])
def test_every_interrupted_command_says_so(
    cli: Cli, keys: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
):
    def interrupt(*_args: object, **_options: object):
        raise KeyboardInterrupt(*[said] if said else [])

    monkeypatch.setattr("nakawari.data.check.check", interrupt)
    result = cli("data", "check", keys[0].parent)
    assert (result.exit_code, result.stderr) == (130, f"nakawari: {said or 'interrupted.'}\n")


@pytest.mark.parametrize(
    ("status", "words", "sentence"),
    [
        (1, ("interpolate", "key1.png", "cut.png", "-o", "out"), "cut.png is a damaged"),
        (1, ("interpolate", "key1.png", "wide.png", "-o", "out"), "must have one size"),
        (2, ("interpolate", "key1.png", "key2.png"), "-o"),
    ],
)
def test_as_a_process(desk: Path, status: int, words: tuple[str, ...], sentence: str):
    before = listing(desk)
    done = program(*words, folder=desk)
    assert done.returncode == status
    assert_sentence(done.stderr, sentence)
    assert done.stdout == ""
    assert listing(desk) == before


def test_help_and_version_and_nothing_heavy(tmp_path: Path):
    assert "interpolate" in program(folder=tmp_path).stdout
    assert program("--version", folder=tmp_path).stdout.strip() == nakawari.__version__
    check = (
        "import sys, nakawari.cli.main; "
        "heavy = {'torch', 'numpy', 'PIL', 'diffusers', 'transformers', 'cv2', 'av', 'scipy', 'pydantic', 'rich'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def program(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the program in a separate process in `folder`."""
    call = [sys.executable, "-c", "from nakawari.cli.main import run; run()", *words]
    return subprocess.run(call, capture_output=True, text=True, cwd=folder, check=False)


def assert_one_sentence(result: Result, status: int, sentence: str) -> None:
    assert (result.exit_code, result.stdout) == (status, ""), result.output
    assert_sentence(result.stderr, sentence)


def assert_sentence(stderr: str, sentence: str) -> None:
    lines = stderr.splitlines()
    assert len(lines) == 1, stderr
    assert lines[0].startswith("nakawari: ")
    assert lines[0].endswith((".", "--help."))
    assert sentence in lines[0]
    assert "Traceback" not in stderr


def listing(folder: Path) -> dict[str, bytes | None]:
    """All files in `folder` with their contents."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}
