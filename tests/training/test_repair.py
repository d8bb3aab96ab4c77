"""Objective `repair`: an adapter on a packed base is trained to match the full model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from nakawari.errors import UsageError
from nakawari.quantization.layers import packed_layers
from nakawari.training.objectives.base import sample_generator
from nakawari.training.objectives.params import RepairParams
from nakawari.training.objectives.repair import adapter_repairs
from nakawari.training.recipe import load_recipe
from nakawari.training.teacher import Teacher
from nakawari.variants import load
from tiny_models import plain_model

RECIPES = Path(__file__).parents[2] / "recipes"
SETTINGS: dict[str, Any] = {
    "teacher": "full",
    "lora": {"target": ".*", "rank": 2},
    "noise_l1": 0.0,
    "weighting": "x0",
    "guide_dropout": 0.0,
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    plain_model().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_what_four_bits_took_comes_back(model: Path) -> None:
    teacher = Teacher(load(str(model)).pipeline, "full")
    objective = adapter_repairs(RepairParams.model_validate(SETTINGS), load(f"{model}:int4").pipeline, teacher)
    frames = torch.rand(2, 3, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    batch = {"frames": frames, "index": [0, 1]}

    def loss() -> torch.Tensor:
        return objective(batch, [sample_generator(0, index) for index in range(2)]).loss

    packed = list(packed_layers(objective.pipeline.denoiser).values())
    before = [layer.packed.clone() for layer in packed]
    learning = [parameter for parameter in objective.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(learning, lr=3e-3)
    first = loss().item()
    assert first > 0
    for _ in range(25):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    assert loss().item() < 0.6 * first
    assert packed and all(torch.equal(layer.packed, old) for layer, old in zip(packed, before, strict=True))


def test_a_full_base_has_nothing_to_repair(model: Path) -> None:
    teacher = Teacher(load(str(model)).pipeline, "full")
    with pytest.raises(UsageError, match=r"is for a quantized base; set model\.base to one, such as mini:int4"):
        adapter_repairs(RepairParams.model_validate(SETTINGS), load(str(model)).pipeline, teacher)


def test_the_recipe_is_one() -> None:
    recipe = load_recipe(RECIPES / "quantize" / "repair-int4.yaml", [])
    assert isinstance(recipe.objective, RepairParams) and recipe.model.base == "mini:int4"
