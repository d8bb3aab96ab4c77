"""An image encoder narrower than the projector's input: the linear layer between them, and image dropout."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from nakawari.adapters import attach
from nakawari.errors import UsageError
from nakawari.training.objectives.adapt import adapter_learns
from nakawari.training.objectives.base import sample_generator
from nakawari.training.objectives.conditions import without_image
from nakawari.training.objectives.params import AdaptParams
from nakawari.training.objectives.targets import Target, true_latents
from tiny_models import towered_model


def keys() -> tuple[Tensor, Tensor]:
    start = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(2)) * 2 - 1
    return start, start.flip(-1)


def test_it_is_made_trained_and_saved_beside_the_adapter(tmp_path: Path):
    pipeline = towered_model()
    params = AdaptParams(lora={"target": "cross-attention", "rank": 2}, image_dropout=0.0)
    objective = adapter_learns(params, pipeline, Target(true_latents)).train()
    named = objective.trainable_parameters()
    layer = {name: value for name, value in named.items() if "image_adapter" in name}
    assert [tuple(value.shape) for value in layer.values()] == [(6, 8), (6,)]
    batch = {"frames": torch.stack([keys()[0], keys()[0], keys()[1]], 1), "index": [0], "name": ["a"]}
    objective(batch, [sample_generator(0, 0)]).loss.backward()
    assert all(value.grad.abs().sum() > 0 for value in layer.values())
    with torch.no_grad():
        layer["networks.image_adapter.linear.weight"].add_(0.5)
    (tmp_path / "a").mkdir()
    objective.save(tmp_path / "a")
    loaded = towered_model()
    attach(loaded, [(tmp_path / "a", 1.0)])
    expected = pipeline.condition(*keys(), num_frames=3).tokens
    assert torch.equal(loaded.condition(*keys(), num_frames=3).tokens, expected)


def test_none_is_made_where_the_widths_fit_and_no_cache_is_kept_where_one_learns(tmp_path: Path):
    assert not towered_model(projector=8).add_image_adapter()
    with pytest.raises(UsageError, match="cannot be used while an image adapter is trained"):
        adapter_learns(
            AdaptParams(lora={"target": "cross-attention"}, cache=tmp_path), towered_model(), Target(true_latents)
        )


def test_without_its_image_a_condition_keeps_its_text():
    condition = towered_model(projector=8).condition(*keys(), num_frames=3)
    changed = condition.replace(tokens=condition.tokens + 1)  # another text and another image
    alone = without_image(changed)
    assert torch.equal(alone.tokens[:, :77], changed.tokens[:, :77])
    assert torch.equal(alone.tokens[:, 77:], condition.null_tokens[:, 77:])
