"""Classifier-free guidance with one or two scales."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Guidance:
    """Combination of the branches of one step.

    Args:
        scale: of the conditional against the unconditional output; 1 = off.
        image_scale: of the image, if guidance has two scales.
        rescale: guidance rescale, 0 to 1: how far the deviation is restored to that of the conditional output.
    """

    scale: float
    image_scale: float | None
    rescale: float

    @property
    def off(self) -> bool:
        """Whether only the conditional output is needed."""
        return self.scale == 1 and self.image_scale in (None, 1)

    def combine(self, outputs: list[Tensor]) -> Tensor:
        """Guided output from [conditional, unconditional, image only]; rescale as Lin et al. 2024, section 3.4."""
        if len(outputs) == 1:
            return outputs[0]
        conditional, without = outputs[0], outputs[1]
        if len(outputs) == 3:
            guided = without + self.image_scale * (outputs[2] - without) + self.scale * (conditional - outputs[2])
        else:
            guided = without + self.scale * (conditional - without)
        if self.rescale == 0:
            return guided
        axes = tuple(range(1, guided.ndim))
        matched = guided * (conditional.std(dim=axes, keepdim=True) / guided.std(dim=axes, keepdim=True))
        return self.rescale * matched + (1 - self.rescale) * guided
