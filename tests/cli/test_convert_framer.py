"""`nakawari convert` on the published layout of Framer, tiny."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import Result

from nakawari.families.framer.pipeline import FramerPipeline
from tiny_framer import tiny

Cli = Callable[..., Result]


@pytest.fixture
def published(tmp_path: Path) -> tuple[Path, Path]:
    """The folders of Framer and of Stable Video Diffusion."""
    pipeline = tiny()
    framer, svd = tmp_path / "framer", tmp_path / "svd"
    for folder, parts in ((framer, ("unet", "controlnet")), (svd, ("vae", "image_encoder", "scheduler"))):
        for part in parts:
            getattr(pipeline, part).save_pretrained(folder / part)
    return framer, svd


def test_two_folders_become_one(cli: Cli, published: tuple[Path, Path], tmp_path: Path) -> None:
    result = cli("convert", published[0], "--svd", published[1], "-o", tmp_path / "out", "--dtype", "bf16")
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    rows = {line.split()[0]: line.split()[1:] for line in result.stdout.splitlines()}
    unet = tiny().unet
    assert rows["unet"] == [str(len(unet.state_dict())), f"{sum(p.numel() for p in unet.parameters()):,}"]
    assert set(rows) >= {"controlnet", "vae", "image_encoder", "all"}
    assert load_file(tmp_path / "out/unet/diffusion_pytorch_model.safetensors")["mask_token"].dtype == torch.bfloat16
    assert FramerPipeline.from_pretrained(tmp_path / "out").controlnet is not None


def test_what_does_not_fit_gets_one_sentence(cli: Cli, published: tuple[Path, Path], tmp_path: Path) -> None:
    framer, svd = published
    file = framer / "unet/diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    del weights["mask_token"]
    save_file(weights, file, metadata={"format": "pt"})
    out = ("-o", tmp_path / "out")
    cases = {
        "1 missing, first mask_token": (1, framer, "--svd", svd, *out),
        "holds no folder unet": (1, svd, "--svd", svd, *out),
        "with --svd": (2, framer, *out),
        "leave --tokenizer out": (2, framer, "--svd", svd, "--tokenizer", svd, *out),
        "--svd is for Framer": (2, file, "--svd", svd, *out),
        "exists already": (2, framer, "--svd", svd, "-o", svd),
    }
    for sentence, (status, *words) in cases.items():
        result = cli("convert", *words)
        assert (result.exit_code, result.stderr.count("\n")) == (status, 1), result.stderr
        assert sentence in result.stderr
    assert not (tmp_path / "out").exists()
