"""Progress output of a long job."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import Result

import tiny_framer
from nakawari.cli import progress
from nakawari.interpolation import Key, Settings, draw
from tiny_models import plain_model

Cli = Callable[..., Result]


def keys_of(height: int, width: int) -> list[Key]:
    return [Key(Path(f"{level}.png"), np.full((height, width, 3), level, np.uint8)) for level in (30, 220)]


@pytest.mark.parametrize("make", [plain_model, tiny_framer.tiny], ids=["tooncrafter", "framer"])
def test_every_sampling_step_is_told_of(make: Callable[[], object]):
    told: list[tuple[float, int, str]] = []
    whole: list[tuple[int, int]] = []
    settings = Settings((3, 3), loop=True, steps=4)
    draw(keys_of(32, 48), settings, make(), lambda *at: whole.append(at), watch=lambda *at: told.append(at))
    words = ["step 1 of 4", "step 2 of 4", "step 3 of 4", "4 of 4 steps, decoding"]
    assert [note for _, _, note in told] == words * 2
    assert [round(done, 6) for done, _, _ in told] == [0.6, 1.2, 1.8, 2.4, 3.6, 4.2, 4.8, 5.4]
    assert whole == [(3, 6), (6, 6)]


def test_without_a_terminal_a_line_a_step_but_not_too_often(
    cli: Cli, keys: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    plain_model().save_pretrained(tmp_path / "model")
    words = ("interpolate", *keys[:2], "--model", tmp_path / "model", "--between", 3, "--steps", 3)
    assert "step" not in cli(*words, "-o", tmp_path / "quiet").stderr
    monkeypatch.setattr(progress, "QUIET", 0.0)
    lines = cli(*words, "-o", tmp_path / "told").stderr.splitlines()
    assert [line.split(", ")[1] for line in lines[:3]] == ["step 1 of 3", "step 2 of 3", "3 of 3 steps"]
    assert lines[0].startswith("in-betweens: 0.75 of 3 frames, step 1 of 3, ") and lines[0].endswith(" s left")
