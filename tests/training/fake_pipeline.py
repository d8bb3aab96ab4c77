"""A minimal pipeline with the family contract: latents are the frames' pixels, downscaled by 2."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.loaders import PeftAdapterMixin
from torch import Tensor, nn
from torch.nn import functional

from nakawari.diffusion import Process
from nakawari.families.base import Condition, InterpolationPipeline
from nakawari.guide import still


class Net(ModelMixin, ConfigMixin, PeftAdapterMixin):
    @register_to_config
    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.decoder = nn.Conv2d(channels, channels, 1)
        self.encoder = nn.Conv2d(channels, channels, 1)
        for layer in (self.decoder, self.encoder):
            nn.init.dirac_(layer.weight)
            nn.init.zeros_(layer.bias)


class FakePipeline(InterpolationPipeline):
    family = "fake"
    call_settings = ("num_inference_steps", "guidance_scale", "eta")

    def __init__(self, unet: Net, vae: Net) -> None:
        super().__init__()
        self.register_modules(unet=unet, vae=vae)
        self.fake = SimpleNamespace()

    @classmethod
    def make(cls, process: Process, guided_model: bool = True, tokens: bool = False) -> FakePipeline:
        pipeline = cls(Net(), Net())
        pipeline.fake = SimpleNamespace(
            process=process, guided=guided_model, tokens=tokens, oracle=None, seen=[], conditions=0
        )
        return pipeline

    @property
    def process(self) -> Process:
        return self.fake.process

    @property
    def denoiser(self) -> nn.Module:
        return self.unet

    def encode(self, frames: Tensor, condition: Condition | None = None, generator: Any = None) -> Tensor:
        small = functional.avg_pool2d(self.vae.encoder(frames.flatten(0, 1)), 2).unflatten(0, frames.shape[:2])
        return small if condition is None or condition.base is None else small - condition.base

    def condition(self, start, end, *, num_frames, prompt="", fps=None, control=None, guided=True, generator=None):
        self.fake.conditions += 1
        pair = torch.stack([start, end], 1)
        condition = Condition(num_frames=num_frames, size=tuple(start.shape[-2:]), latents=self.encode(pair))
        if self.fake.tokens:
            text = torch.ones(len(start), 1, 1)
            condition = condition.replace(tokens=text * 2, image_tokens=text, null_tokens=text * 0)
        if not self.fake.guided:
            return condition
        guide = still(start, end, torch.linspace(0, 1, num_frames))
        guide = replace(guide, guided=torch.full_like(guide.guided, float(guided)))
        return condition.replace(guide=guide, base=self.encode(guide.blend()))

    def unconditional(self, condition: Condition, *, keep_image: bool = False) -> Condition:
        return condition.replace(tokens=condition.image_tokens if keep_image else condition.null_tokens)

    def denoise(self, noisy: Tensor, t: Tensor, condition: Condition) -> Tensor:
        self.fake.seen.append(condition)
        if self.fake.oracle is not None:
            return self.fake.oracle(noisy, t)
        return self.unet.encoder(noisy.flatten(0, 1)).unflatten(0, noisy.shape[:2])

    def decode(self, latents: Tensor, condition: Condition, *, chunk: int | None = None) -> Tensor:
        whole = latents if condition.base is None else latents + condition.base
        large = functional.interpolate(self.vae.decoder(whole.flatten(0, 1)), scale_factor=2.0)
        return large.unflatten(0, latents.shape[:2])

    def __call__(self, *, condition, generator, **settings):
        latents = torch.zeros(condition.batch, condition.num_frames, *condition.latents.shape[2:])
        return SimpleNamespace(frames=(self.decode(latents, condition) + 1) / 2)


def clips(count: int = 3, frames: int = 5) -> dict[str, Any]:
    """A batch of smooth random clips (count, frames, 3, 8, 8)."""
    generator = torch.Generator().manual_seed(1)
    rough = torch.rand(count, frames, 3, 2, 2, generator=generator) * 1.6 - 0.8
    smooth = functional.interpolate(rough.flatten(0, 1), size=(8, 8), mode="bilinear").unflatten(0, (count, frames))
    return {"frames": smooth, "index": list(range(count)), "name": [str(n) for n in range(count)]}
