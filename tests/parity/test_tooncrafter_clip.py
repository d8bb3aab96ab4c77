"""The CLIP encoders and their image preprocessing against OpenCLIP 2.22.0, as used by the reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import CLIPTextModel, CLIPVisionModel

from nakawari.families import clip_images
from nakawari.families.tooncrafter import towers
from parity.vectors import assert_near, load_case, weights

pytestmark = pytest.mark.parity
ATOL = 5e-5


def _load(
    model: Any, state: dict[str, Tensor], names: Callable[[str], tuple[str, ...]], layers: int | None = None
) -> Any:
    prefix = towers.tower_prefix(model)
    converted: dict[str, Tensor] = {}
    for key, value in state.items():
        found = names(key)
        if layers is not None and any(f"layers.{layers}." in name for name in found):
            continue
        converted |= towers.named_parts(value, [prefix + name for name in found])
    model.load_state_dict(converted, strict=True)
    return model.eval()


@pytest.mark.parametrize(("expected", "skipped"), [("text_penultimate", 1), ("text_last", 0)])
def test_text_tower(folder: Any, expected: str, skipped: int) -> None:
    tensors, page = load_case("clip")
    config = page["text_cfg"]
    layers = config["layers"] - skipped
    model = CLIPTextModel(
        towers.text_config(
            width=config["width"],
            layers=layers,
            heads=config["heads"],
            vocab_size=config["vocab_size"],
            context_length=config["context_length"],
        )
    )
    model = _load(model, weights(tensors, "w.text.model."), towers.text_names, layers)
    assert_near(towers.encode_text(model, tensors["tokens"]), tensors[expected], ATOL)


def _vision(tensors: dict[str, Tensor], config: dict[str, int]) -> CLIPVisionModel:
    model = CLIPVisionModel(
        towers.vision_config(
            width=config["width"],
            layers=config["layers"],
            heads=config["width"] // config["head_width"],
            patch_size=config["patch_size"],
            image_size=config["image_size"],
        )
    )
    return _load(model, weights(tensors, "w.vision.model.visual."), towers.vision_names)


def _image(tensors: dict[str, Tensor], index: int, size: list[int]) -> Tensor:
    """The stored image, or the large one that the page describes by a formula."""
    if f"image{index}" in tensors:
        return tensors[f"image{index}"]
    axes = [torch.linspace(0, 1, side, dtype=torch.float64) for side in size]
    y, x = torch.meshgrid(*axes, indexing="ij")
    return torch.stack([(37 * x + 11 * y).sin(), (23 * y - 5 * x).cos(), (61 * x * y + 1).sin()]).float()[None]


def test_preprocessing(folder: Any) -> None:
    tensors, page = load_case("clip")
    for index, size in enumerate(page["img_hw"]):
        pixels = clip_images.preprocess_clip_images(_image(tensors, index, size))
        assert_near(pixels[:, :, ::16, ::16], tensors[f"pre{index}_probe"], ATOL)
        if f"pre{index}_row100" in tensors:
            assert_near(pixels[:, :, 100], tensors[f"pre{index}_row100"], ATOL)


def test_image_tower(folder: Any) -> None:
    tensors, page = load_case("clip")
    model = _vision(tensors, page["vision_cfg"])
    for index, size in enumerate(page["img_hw"]):
        tokens = towers.encode_image(model, _image(tensors, index, size))
        assert_near(tokens[:, ::8], tensors[f"tokens_out{index}"], ATOL)


def test_image_tower_on_grey(folder: Any) -> None:
    tensors, page = load_case("clip")
    model = _vision(tensors, page["vision_cfg"])
    for size in [(16, 24), *page["img_hw"]]:  # a constant image is the same at every size
        tokens = towers.encode_image(model, torch.zeros(1, 3, *size))
        assert_near(tokens[:, ::8], tensors["tokens_uncond_zero_image"], ATOL)
