"""Prior preservation: the base model's own drawings as training data, against forgetting.

Source: Ruiz et al. 2023 (DreamBooth), with key frames instead of class prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...adapters import adapted_networks, disabled
from ...families.base import InterpolationPipeline
from .base import Batch, sample_generator
from .conditions import keys_of
from .params_parts import PriorParams


class Prior:
    """Draws each clip once, on first use, with the adapter disabled."""

    def __init__(self, params: PriorParams, pipeline: InterpolationPipeline, seed: int) -> None:
        self.params, self.pipeline, self.seed = params, pipeline, seed
        self._drawn: dict[tuple[int, ...], Tensor] = {}

    def batch(self, batch: Batch, generators: Sequence[torch.Generator]) -> dict[str, Any]:
        """A batch of the base's drawings of the shape of `batch`, sample i chosen by its generator."""
        numbers = [int(torch.randint(self.params.clips, (1,), generator=g)) for g in generators]
        frames = torch.stack([self._clip(number, batch["frames"]) for number in numbers])
        return {"frames": frames, "index": batch["index"], "name": [f"prior-{number}" for number in numbers]}

    def _clip(self, number: int, like: Tensor) -> Tensor:
        _, count, _, height, width = like.shape
        key = (number, count, height, width)
        if key not in self._drawn:
            self._drawn[key] = self._draw(number, count, (height, width)).to(like)
        return self._drawn[key]

    @torch.no_grad()
    def _draw(self, number: int, count: int, size: tuple[int, int]) -> Tensor:
        import numpy as np

        from ...data.training_data import SyntheticSource

        scene = SyntheticSource().draw(np.random.default_rng([self.seed, number]), 2, size, 1.0).frames
        keys = torch.from_numpy(np.ascontiguousarray(scene.transpose(0, 3, 1, 2))).float() / 127.5 - 1
        with disabled(*adapted_networks(self.pipeline)):
            drawn = self.pipeline(
                *keys_of(keys[None].to(self.pipeline.device)),
                num_frames=count,
                num_inference_steps=self.params.steps,
                generator=[sample_generator(self.seed, number)],
                output_type="pt",
            )
        return drawn.frames[0] * 2 - 1
