"""Tiny triplets and a stub pipeline."""

from types import SimpleNamespace

import numpy as np
import torch

from nakawari.families.abilities import Abilities


class StubPipeline(Abilities):
    """Mixes the keys and adds noise from each sample's generator; counts its calls and fails on request."""

    family = "stub"

    def __init__(self, noise=0.05, bad=(), poison=(), device="cpu"):
        self.noise, self.bad, self.poison, self.calls, self.settings = noise, bad, poison, 0, {}
        self.denoiser = torch.nn.Conv2d(3, 3, 1)
        torch.nn.init.constant_(self.denoiser.weight, 0.1)
        torch.nn.init.zeros_(self.denoiser.bias)
        self.components = {"unet": self.denoiser}
        self.device = torch.device(device)
        self.largest = 0

    def __call__(
        self,
        start,
        end,
        num_frames=3,
        num_inference_steps=4,
        guidance_scale=None,
        eta=None,
        prompt="",
        guided=True,
        generator=None,
        output_type="pil",
    ):
        assert output_type == "pt"
        self.settings = {"steps": num_inference_steps, "guided": guided, "prompt": prompt, "guidance": guidance_scale}
        self.calls += len(start)
        self.largest = max(self.largest, len(start))
        for _ in range(num_inference_steps):
            self.denoiser(start)
        times = torch.linspace(0, 1, num_frames).view(1, -1, 1, 1, 1)
        clip = (1 - times) * start[:, None] + times * end[:, None]
        marks = [round(float(key[0, 0, 0] + 1) * 127.5) for key in start]
        if any(mark in self.bad for mark in marks):
            raise RuntimeError("it broke")
        noise = torch.stack([torch.randn(clip.shape[1:], generator=g) for g in generator])
        noise[[index for index, mark in enumerate(marks) if mark in self.poison]] = torch.nan
        clip = clip + self.noise * noise * (times * (1 - times) * 4)
        return SimpleNamespace(frames=(clip + 1) / 2)


def picture(shift: int, mark: int, size=(40, 32)) -> np.ndarray:
    y, x = np.mgrid[: size[1], : size[0]]
    image = np.stack([x * 5, y * 6, 200 - 3 * x], -1)
    image[np.hypot(y - 16, x - 12 - shift) < 6] = (240, 60, 30)
    image[0, 0, 0] = mark
    return image.clip(0, 255).astype(np.uint8)
