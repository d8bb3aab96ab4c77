"""A ToonCrafter pipeline with an exact denoiser for a known Gaussian data distribution."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from nakawari import families
from nakawari.families.tooncrafter.pipeline import ToonCrafterPipeline

TINY = {
    "family": "tooncrafter",
    "unet": {
        "in_channels": 8,
        "out_channels": 4,
        "model_channels": 8,
        "channel_mult": [1, 2],
        "num_res_blocks": 1,
        "attention_resolutions": [2],
        "num_head_channels": 8,
        "context_dim": None,
        "image_cross_attention": False,
        "addition_attention": False,
        "fps_condition": False,
        "norm_num_groups": 4,
    },
    "vae": {
        "latent_channels": 4,
        "ch": 8,
        "ch_mult": [1, 2],
        "num_res_blocks": 1,
        "attn_levels": [],
        "mid_attention": False,
        "scaling_factor": 1.0,
        "norm_num_groups": 4,
    },
    "scheduler": {"set_alpha_to_one": True},
    "pipeline": {"default_steps": 20, "default_guidance": 1.0, "default_eta": 0.0, "double_decode": False},
}
Break = Callable[["Oracle", Tensor, Tensor, Tensor], Tensor]


class Oracle(ToonCrafterPipeline):
    """x0 is normal, with the key latents' pattern times 0.8 as its mean and `spread` around it."""

    spread: float = 0.5
    broken: Break | None = None

    def mean(self, like: Tensor) -> Tensor:
        return 0.8 * torch.randn(like.shape[1:], generator=torch.Generator().manual_seed(99)).expand_as(like)

    def encode(self, frames, condition=None, generator=None):
        like = super().encode(frames, condition, generator)
        noise = torch.randn(like.shape[1:], generator=torch.Generator().manual_seed(5))
        return self.mean(like) + self.spread * noise

    def denoise(self, noisy, t, condition):
        a, b = (factor(t).view(-1, 1, 1, 1, 1) for factor in (self.process.signal, self.process.sigma))
        gain = self.spread**2 * a / (a**2 * self.spread**2 + b**2)
        x0 = self.mean(noisy) + gain * (noisy - a * self.mean(noisy))
        noise = torch.where(b > 0, (noisy - a * x0) / b, torch.zeros_like(noisy))
        velocity = self.process.output(x0, noise, t)
        return velocity if self.broken is None else self.broken(self, velocity, noise, noisy)


def oracle(broken: Break | None = None, spread: float = 0.5) -> Oracle:
    """The exact model, or a broken one with the output of `broken(pipeline, velocity, noise, noisy)`."""
    torch.manual_seed(0)
    built = families.build(TINY)
    pipeline = Oracle(**dict(built.components.items()), **TINY["pipeline"])
    pipeline.spread, pipeline.broken = spread, broken
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
