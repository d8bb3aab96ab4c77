"""Memory options of drawing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import Result

from nakawari import variants
from nakawari.cli import memory_options
from nakawari.media import read_image
from tiny_models import towered_model

Cli = Callable[..., Result]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    towered_model(8).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def drawn(folder: Path) -> np.ndarray:
    return np.stack([read_image(path) for path in sorted(folder.glob("0*.png"))])


def test_the_keys_stand_bit_for_bit_where_it_draws_at_another_size(
    cli: Cli, keys: list[Path], model: Path, tmp_path: Path
):
    words = ("interpolate", *keys[:2], "--model", model, "--between", 1, "--steps", 1)
    for name, more in (("own", ()), ("other", ("--size", "48x32"))):
        result = cli(*words, *more, "-o", tmp_path / name)
        assert result.exit_code == 0, result.output
    own, other = drawn(tmp_path / "own"), drawn(tmp_path / "other")
    assert own.shape == other.shape == (3, 14, 22, 3)
    for place, key in ((0, keys[0]), (2, keys[1])):
        assert np.array_equal(other[place], read_image(key))
    assert not np.array_equal(own[1], other[1])


def test_a_precision_is_part_of_the_model(cli: Cli, keys: list[Path], model: Path, tmp_path: Path):
    words = ("interpolate", *keys[:2], "--between", 1, "--steps", 1)
    for name, more in (("flag", ("--model", model, "--precision", "int8")), ("name", ("--model", f"{model}:int8"))):
        result = cli(*words, *more, "-o", tmp_path / name)
        assert result.exit_code == 0, result.output
    assert np.array_equal(drawn(tmp_path / "flag"), drawn(tmp_path / "name"))
    assert json.loads((tmp_path / "flag" / "interpolation.json").read_text())["model"] == f"{model}:int8"


def test_large_models_are_planned_without_being_asked(
    cli: Cli, keys: list[Path], model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    words = ("interpolate", *keys[:2], "--model", model, "--between", 1, "--steps", 1)
    plain = cli(*words, "-o", tmp_path / "plain")
    assert plain.exit_code == 0 and "chosen" not in plain.stderr
    monkeypatch.setattr(memory_options, "LARGE", 0)
    planned = cli(*words, "-o", tmp_path / "planned")
    assert planned.exit_code == 0, planned.output
    line = f"nakawari: chosen: model {model}; everything stays on the device; guidance in one batch; needs "
    assert planned.stderr.startswith(line)
    assert re.search(r"; needs \d.*; a clip takes roughly \d+ (s|min)\n", planned.stderr)
    assert np.array_equal(drawn(tmp_path / "plain"), drawn(tmp_path / "planned"))


@pytest.mark.parametrize(
    ("words", "sentence", "status"),
    [
        (("--memory", "1MB"), "3 frames of 22x14 do not fit into 1 MB with", 1),
        (("--memory", "much"), "'much' is not an amount of memory", 2),
        (("--offload", "model"), "--offload moves networks from a GPU", 2),
        (("--offload", "all"), "--offload takes none, towers, model and sequential", 2),
        (("--decode-chunk", 2), "decodes all frames of a clip at once; leave --decode-chunk out", 2),
        (("--size", "large"), "'large' is not a size", 2),
        (("--precision", "int5"), "'int5' is not a precision", 2),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_loaded(
    cli: Cli,
    keys: list[Path],
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    sentence: str,
    status: int,
):
    monkeypatch.setattr(variants, "load", lambda *_, **__: pytest.fail("loaded"))
    result = cli("interpolate", *keys[:2], "--model", model, "--between", 1, *words, "-o", tmp_path / "out")
    assert result.exit_code == status and sentence in result.stderr, result.stderr
