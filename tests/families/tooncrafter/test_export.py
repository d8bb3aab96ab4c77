"""Export to an upstream checkpoint: `convert` reads the same model back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from test_convert import TINY_RESAMPLER, TINY_TOWERS, TINY_UNET, TINY_VAE, upstream_shapes

from nakawari.errors import NakawariError, UsageError
from nakawari.families.tooncrafter.checkpoint_layout import COMPONENTS
from nakawari.families.tooncrafter.convert import EXTRA_FILE, convert_checkpoint, read_state
from nakawari.quantization.make import export
from nakawari.variants import load
from tiny_models import plain_model


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small checkpoint of the upstream layout."""
    generator = torch.Generator().manual_seed(0)
    shapes = upstream_shapes(TINY_UNET, TINY_VAE, TINY_RESAMPLER, TINY_TOWERS)
    path = tmp_path_factory.mktemp("upstream") / "model.ckpt"
    torch.save({"state_dict": {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}}, path)
    return path


@pytest.fixture(scope="module")
def model(original: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return convert_checkpoint(original, tmp_path_factory.mktemp("converted") / "model").output_dir


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_there_and_back(original: Path, model: Path, tmp_path: Path, precision: str) -> None:
    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}[precision]
    count = export(load(str(model)).pipeline, str(model), model, precision, tmp_path / "out.ckpt")
    before, written = read_state(original), read_state(tmp_path / "out.ckpt")
    extra = load_file(model / EXTRA_FILE)
    assert count == len(before) and before.keys() == written.keys()
    for name, tensor in before.items():
        assert torch.equal(written[name], tensor if name in extra else tensor.to(dtype)), name
    again = convert_checkpoint(tmp_path / "out.ckpt", tmp_path / "again").output_dir
    for part in COMPONENTS:
        (ours,), (theirs,) = ([*(folder / part).glob("*.safetensors")] for folder in (model, again))
        wanted, found = load_file(ours), load_file(theirs)
        assert wanted.keys() == found.keys()
        assert all(torch.equal(found[name], tensor.to(dtype)) for name, tensor in wanted.items())
    kept = load_file(again / EXTRA_FILE)
    assert kept.keys() == extra.keys() and all(torch.equal(kept[name], extra[name]) for name in extra)


def test_what_has_no_place_in_the_layout(model: Path, tmp_path: Path) -> None:
    plain_model().save_pretrained(tmp_path / "small")
    with pytest.raises(UsageError, match="A model with no text_encoder has no upstream layout"):
        export(
            load(str(tmp_path / "small")).pipeline,
            str(tmp_path / "small"),
            tmp_path / "small",
            "fp16",
            tmp_path / "out.ckpt",
        )
    with pytest.raises(UsageError, match="needs fp16 or bf16, not int8"):
        export(load(str(model)).pipeline, str(model), model, "int8", tmp_path / "out.ckpt")
    pipeline = load(str(model)).pipeline
    pipeline.save_pretrained(tmp_path / "saved")
    with pytest.raises(NakawariError, match=rf"holds no {EXTRA_FILE}.*export from the folder"):
        export(pipeline, str(tmp_path / "saved"), tmp_path / "saved", "fp16", tmp_path / "out.ckpt")
    assert not (tmp_path / "out.ckpt").exists()
