"""Conversion of the published folders: strict reading, one output folder, one-sentence errors."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from nakawari.errors import NakawariError
from nakawari.families.framer.convert import convert, load_published
from nakawari.families.framer.pipeline import FramerPipeline
from nakawari.resources.jobs import job_of
from nakawari.resources.need import Size
from tiny_framer import tiny


@pytest.fixture
def published(tmp_path: Path) -> tuple[Path, Path]:
    """A tiny model in the release's layout: the folders of Framer and of Stable Video Diffusion."""
    pipeline = tiny()
    framer, svd = tmp_path / "framer", tmp_path / "svd"
    pipeline.unet.save_pretrained(framer / "unet")
    pipeline.controlnet.save_pretrained(framer / "controlnet")
    for part in ("vae", "image_encoder", "scheduler"):
        getattr(pipeline, part).save_pretrained(svd / part)
    return framer, svd


def test_frames_are_as_many_and_as_large_as_framer_was_trained_on(published: tuple[Path, Path]) -> None:
    """The released UNet's configuration names Stable Video Diffusion XT's 25 frames."""
    config = published[0] / "unet" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"num_frames": 25}))
    pipeline = load_published(*published)
    assert pipeline.config.max_frames == 14 and pipeline.config.trained_size == (320, 512)
    pipeline.save_pretrained(published[0].parent / "whole")
    assert job_of(str(published[0].parent / "whole"), None, None, None)[0] == Size(14, 320, 512, 2)


def edit(folder: Path, change) -> None:
    file = next(folder.glob("*.safetensors"))
    weights = load_file(file)
    change(weights)
    save_file(weights, file, metadata={"format": "pt"})


def test_published_folders_become_one(published: tuple[Path, Path], tmp_path: Path) -> None:
    config = published[0] / "controlnet" / "config.json"
    page = json.loads(config.read_text())
    del page["temporal_context"]
    config.write_text(json.dumps({**page, "with_id_feature": False, "feature_channels": 160}))
    convert(*published, tmp_path / "out")
    loaded = FramerPipeline.from_pretrained(tmp_path / "out")
    original = tiny()
    for part in ("unet", "controlnet", "vae", "image_encoder"):
        expected, found = (getattr(own, part).state_dict() for own in (original, loaded))
        assert expected.keys() == found.keys()
        assert all(torch.equal(value, found[name]) for name, value in expected.items())
    assert loaded.controlnet.config.temporal_context == "interleaved"
    assert not list(tmp_path.glob(".out*"))


def test_half_precision_files_are_found(published: tuple[Path, Path]) -> None:
    folder = published[0] / "unet"
    file = folder / "diffusion_pytorch_model.safetensors"
    file.rename(folder / "diffusion_pytorch_model.fp16.safetensors")
    assert load_published(*published, dtype=torch.float16).unet.dtype == torch.float16


@pytest.mark.parametrize(
    ("part", "change", "words"),
    [
        ("unet", lambda weights: weights.pop("mask_token"), "1 missing, first mask_token"),
        ("unet", lambda weights: weights.update(extra=torch.zeros(1)), "1 unknown, first extra"),
        ("controlnet", lambda weights: weights.update({"conv_in.bias": torch.zeros(3)}), r"conv_in.bias is \[3\]"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    published: tuple[Path, Path], tmp_path: Path, part: str, change, words: str
) -> None:
    edit(published[0] / part, change)
    with pytest.raises(NakawariError, match=words):
        convert(*published, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_missing_or_broken_file_is_named(published: tuple[Path, Path]) -> None:
    framer, svd = published
    file = framer / "unet" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(NakawariError, match="not a complete safetensors file"):
        load_published(framer, svd)
    file.unlink()
    with pytest.raises(NakawariError, match=r"holds no diffusion_pytorch_model\.safetensors"):
        load_published(framer, svd)
    shutil.rmtree(svd / "vae")
    with pytest.raises(NakawariError, match=r"svd holds no folder vae; give"):
        load_published(framer, svd)


def test_a_config_of_another_model_is_named(published: tuple[Path, Path]) -> None:
    config = published[0] / "unet" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "down_block_types": ["Nothing"]}))
    with pytest.raises(NakawariError, match="does not describe a FramerUNet"):
        load_published(*published)
