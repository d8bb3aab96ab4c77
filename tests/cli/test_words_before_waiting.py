"""Errors reported before a large model is loaded, and errors in quantization."""

from __future__ import annotations

import errno
import inspect
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from typer.testing import Result

from nakawari import variants
from nakawari.families.tooncrafter.pipeline import ToonCrafterPipeline
from tiny_models import mini_model, plain_model, towered_model

Cli = Callable[..., Result]


@pytest.fixture
def towered(tmp_path: Path) -> Path:
    towered_model(8).save_pretrained(tmp_path / "towered")
    return tmp_path / "towered"


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    plain_model().save_pretrained(tmp_path / "plain")
    return tmp_path / "plain"


def test_a_missing_tokenizer_is_refused_before_loading(
    cli: Cli, keys: list[Path], towered: Path, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(variants, "load", lambda *_, **__: pytest.fail("loaded"))
    words = ("interpolate", *keys[:2], "-o", tmp_path / "out", "--prompt", "a girl runs", "--model")
    result = cli(*words, towered)
    assert result.exit_code == 2
    assert "has no tokenizer" in result.stderr and "--tokenizer FOLDER" in result.stderr
    assert "openai/clip-vit-large-patch14" in result.stderr
    assert "reads no text" in cli(*words, plain).stderr


def test_a_model_that_is_no_number_is_not_quantized(cli: Cli, tmp_path: Path):
    broken = mini_model()
    with torch.no_grad():
        broken.unet.out[2].weight[0] = torch.nan
    broken.save_pretrained(tmp_path / "broken")
    result = cli("quantize", tmp_path / "broken", "--precision", "int8", "-o", tmp_path / "q")
    assert result.exit_code == 1 and "values that are not finite, first in out.2.weight" in result.stderr
    assert not (tmp_path / "q").exists()


@pytest.mark.parametrize(
    "error",
    [SafetensorError("I/O error: No space left on device (os error 28)"), OSError(errno.ENOSPC, "No space left")],
)
def test_a_full_disk_is_one_sentence(
    cli: Cli, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
):
    def full(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(ToonCrafterPipeline, "save_pretrained", full)
    result = cli("quantize", plain, "--precision", "int8", "-o", tmp_path / "q")
    assert result.exit_code == 1
    assert result.stderr.strip().splitlines()[-1].startswith("nakawari: Could not write ")
    assert "No space left" in result.stderr and "no partial files were left" in result.stderr
    assert not (tmp_path / "q").exists()


def test_sampling_settings_reach_the_model_and_the_record(
    cli: Cli, keys: list[Path], towered: Path, framer_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    asked: list[dict[str, object]] = []
    call = ToonCrafterPipeline.__call__

    def watch(self: ToonCrafterPipeline, *keys: torch.Tensor, **options: object):
        asked.append(options)
        return call(self, *keys, **options)

    watch.__signature__ = inspect.signature(call)  # type: ignore[attr-defined]
    monkeypatch.setattr(ToonCrafterPipeline, "__call__", watch)
    words = ("--between", 1, "--steps", 1, "--eta", "0.3", "--guidance-rescale", "0.2", "--stride", 8, "--fps", 24)
    result = cli("interpolate", *keys[:2], "--model", towered, "-o", tmp_path / "out", *words)
    assert result.exit_code == 0, result.output
    assert {name: asked[0][name] for name in ("eta", "guidance_rescale", "fps")} == {
        "eta": 0.3,
        "guidance_rescale": 0.2,
        "fps": 8,
    }
    record = json.loads((tmp_path / "out" / "interpolation.json").read_text())
    assert record["options"] == {"eta": 0.3, "guidance_rescale": 0.2, "fps": 8} and record["fps"] == 24
    for more, sentence in ((("--eta", "0.3"), "has no eta"), (("--stride", 8), "has no --stride")):
        refused = cli("interpolate", *keys[:2], "--model", framer_model, "-o", tmp_path / "no", "--between", 1, *more)
        assert refused.exit_code == 2 and sentence in refused.stderr, refused.stderr


def test_guidance_that_a_model_has_not_is_refused(cli: Cli, keys: list[Path], plain: Path, tmp_path: Path):
    words = ("interpolate", *keys[:2], "--model", plain, "--between", 1, "--steps", 1, "-o", tmp_path / "out")
    refused = cli(*words, "--guidance", 5)
    assert refused.exit_code == 2 and "leave --guidance out" in refused.stderr
    assert cli(*words, "--guidance", 1).exit_code == 0
