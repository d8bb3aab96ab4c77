"""Parameters of mini's recipes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from fake_pipeline import FakePipeline, clips

from nakawari.diffusion import EDMProcess, Process, VelocityProcess
from nakawari.errors import UsageError
from nakawari.families.tooncrafter.vae import DualReferenceAutoencoder
from nakawari.training.objectives import autoencode
from nakawari.training.objectives.base import sample_generator
from nakawari.training.objectives.params_parts import PixelParams
from nakawari.training.objectives.pixels import PixelLoss
from nakawari.training.objectives.targets import random_times
from tiny_models import mini_model, plain_model


def test_squared_error_and_its_logarithm() -> None:
    truth = torch.zeros(2, 1, 3, 4, 4)
    drawn = truth + torch.tensor([0.1, 0.2]).view(2, 1, 1, 1, 1)
    squared = PixelLoss(PixelParams(l1=0, l2=3.0))(drawn, truth)
    assert torch.allclose(squared, 3 * torch.tensor([0.01, 0.04]))
    logarithm = PixelLoss(PixelParams(l1=0, log_l2=2.0))(drawn, truth)
    assert torch.allclose(logarithm, 2 * (torch.tensor([0.01, 0.04]) + 4e-5).log10())
    assert torch.isfinite(PixelLoss(PixelParams(l1=0, log_l2=1.0))(truth, truth)).all()
    floored = PixelLoss(PixelParams(l1=0, log_l2=1.0, log_floor=0.02))(drawn, truth)
    assert torch.allclose(floored, torch.tensor([0.03, 0.06]).log10())


@pytest.mark.parametrize(("process", "last"), [(VelocityProcess(), 999), (EDMProcess(), 700)], ids=["velocity", "edm"])
def test_a_share_of_training_stands_at_the_last_time(process: Process, last: float) -> None:
    generators = [sample_generator(0, index) for index in range(400)]
    for share in (0.0, 0.5, 1.0):
        at_last = (random_times(FakePipeline.make(process), None, share, generators) == last).float().mean()
        assert abs(at_last - share) < 0.08


def test_the_autoencoder_of_mini_is_not_trained() -> None:
    with pytest.raises(UsageError, match=r"autoencoder of a mini is a fixed linear map; .* tooncrafter and framer"):
        autoencode.build(autoencode.AutoencodeParams(), mini_model(), None)


def test_saved_latents_get_the_asked_deviation(tmp_path: Path) -> None:
    pipeline = plain_model()
    objective = autoencode.Autoencode(autoencode.AutoencodeParams(latent_std=0.5), pipeline)
    batch, before = clips(count=3, frames=4), pipeline.vae.config.scaling_factor
    measured = objective.validate([batch])["latent_std"]
    objective.save(tmp_path)
    assert pipeline.vae.config.scaling_factor == before
    saved = DualReferenceAutoencoder.from_pretrained(tmp_path / "vae").config.scaling_factor
    assert saved == pytest.approx(before * 0.5 / measured)


def test_all_that_is_trained_of_an_autoencoder_has_a_part_in_the_loss() -> None:
    """The checkpoint holds a convolution that is never applied."""
    pipeline = plain_model()
    objective = autoencode.Autoencode(autoencode.AutoencodeParams(), pipeline)
    objective(clips(count=2, frames=3), [sample_generator(0, n) for n in range(2)]).loss.backward()
    assert [name for name, value in objective.trainable_parameters().items() if value.grad is None] == []
    assert not pipeline.vae.post_quant_conv.weight.requires_grad
