"""A model whose image tower is not as wide as its projector reads: the linear layer between, and image dropout."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import CLIPTextModel, CLIPVisionModel

from nakawari.adapters import attach
from nakawari.errors import UsageError
from nakawari.families.tooncrafter.pipeline import ToonCrafterPipeline
from nakawari.families.tooncrafter.resampler import Resampler
from nakawari.families.tooncrafter.scheduler import ToonCrafterScheduler
from nakawari.families.tooncrafter.towers import text_config, vision_config
from nakawari.families.tooncrafter.unet import ToonCrafterUNet
from nakawari.families.tooncrafter.vae import DualReferenceAutoencoder
from nakawari.training.objectives.adapt import Adapt, Params
from nakawari.training.objectives.base import sample_generator
from nakawari.training.objectives.conditions import without_image
from tiny_models import UNET, VAE, shaken

WIDTH = 8


def towered(projector: int = 6) -> ToonCrafterPipeline:
    """A tiny model with towers, the image tower 8 wide, every weight random."""
    torch.manual_seed(0)
    context = {"context_dim": WIDTH, "image_cross_attention": True, "image_tokens_per_frame": 2}
    pipeline = ToonCrafterPipeline(
        unet=ToonCrafterUNet(**UNET | context),
        vae=DualReferenceAutoencoder(**VAE),
        scheduler=ToonCrafterScheduler(),
        resampler=Resampler(8, 1, 4, 2, num_queries=2, embedding_dim=projector, output_dim=WIDTH, video_length=3),
        text_encoder=CLIPTextModel(text_config(width=WIDTH, layers=1, heads=2)),
        image_encoder=CLIPVisionModel(vision_config(width=WIDTH, layers=1, heads=2, patch_size=112)),
        double_decode=False,
    )
    for part in (pipeline.unet, pipeline.vae):
        shaken(part)
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval()
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def keys() -> tuple[Tensor, Tensor]:
    start = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(2)) * 2 - 1
    return start, start.flip(-1)


def test_it_is_made_trained_and_saved_beside_the_adapter(tmp_path: Path):
    pipeline = towered()
    objective = Adapt(Params(lora={"target": "cross-attention", "rank": 2}, image_dropout=0.0), pipeline).train()
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
    loaded = towered()
    attach(loaded, [(tmp_path / "a", 1.0)])
    expected = pipeline.condition(*keys(), num_frames=3).tokens
    assert torch.equal(loaded.condition(*keys(), num_frames=3).tokens, expected)


def test_none_is_made_where_the_widths_fit_and_no_cache_is_kept_where_one_learns(tmp_path: Path):
    assert not towered(projector=WIDTH).add_image_adapter()
    with pytest.raises(UsageError, match="cannot keep conditions while an image adapter learns"):
        Adapt(Params(lora={"target": "cross-attention"}, cache=tmp_path), towered())


def test_without_its_image_a_condition_keeps_its_text():
    condition = towered(projector=WIDTH).condition(*keys(), num_frames=3)
    changed = condition.replace(tokens=condition.tokens + 1)  # another text and another image
    alone = without_image(changed)
    assert torch.equal(alone.tokens[:, :77], changed.tokens[:, :77])
    assert torch.equal(alone.tokens[:, 77:], condition.null_tokens[:, 77:])
