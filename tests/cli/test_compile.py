"""`--compile`: one graph per network for all calls. On a CPU, without a compiler backend."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters
from typer.testing import Result

import tiny_framer
from nakawari.media import read_image
from nakawari.resources import applying
from tiny_models import towered_model

Cli = Callable[..., Result]
MODELS = {"towers": lambda: towered_model(8), "framer": tiny_framer.tiny}


@pytest.mark.parametrize("name", MODELS)
def test_one_unbroken_graph_serves_every_step_and_a_second_picture(
    name: str, cli: Cli, keys: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    MODELS[name]().save_pretrained(tmp_path / "model")
    monkeypatch.setattr(applying, "BACKEND", "eager")
    words = ("interpolate", *keys, "--model", tmp_path / "model", "--between", 1, "--steps", 2, "--no-parts")
    assert cli(*words, "-o", tmp_path / "plain").exit_code == 0
    torch._dynamo.reset()
    counters.clear()
    result = cli(*words, "--compile", "-o", tmp_path / "compiled")
    assert result.exit_code == 0, result.output
    assert not counters["graph_break"]
    assert counters["stats"]["unique_graphs"] == 1  # of the UNet: none for the second step, none for the second gap
    for path in sorted((tmp_path / "plain").glob("0*.png")):
        other = read_image(tmp_path / "compiled" / path.name)
        assert np.array_equal(other, read_image(path)), path.name


def test_without_a_compiler_it_says_so(cli: Cli, keys: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(applying, "_can_compile", lambda _: False)
    result = cli("interpolate", *keys[:2], "--between", 1, "--no-parts", "--compile", "-o", tmp_path / "out")
    assert result.exit_code == 1 and "--compile needs a C++ compiler" in result.stderr
