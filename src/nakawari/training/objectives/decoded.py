"""The loss on decoded frames: some in-betweens of each clip, decoded with gradient, against the true or the
teacher's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...families.base import InterpolationPipeline
from .base import Batch
from .conditions import drawn_by_nothing, inner, pick, some_frames
from .params_parts import PixelTerm
from .pixels import PixelLoss
from .targets import Noised, choose


@dataclass(frozen=True)
class DecodedTerm:
    """`params.weight` times the pixel loss of `params.frames` random in-betweens, per sample (B,)."""

    pipeline: InterpolationPipeline
    loss: PixelLoss
    params: PixelTerm

    def __call__(
        self, estimate: Tensor, target: Tensor, step: Noised, batch: Batch, generators: Sequence[torch.Generator]
    ) -> tuple[Tensor, Tensor]:
        """The loss, and that of a zero prediction."""
        frames, condition = batch["frames"], step.condition
        chosen = random_places(frames.shape[1], self.params.frames, batch.get("known"), generators).to(frames.device)
        # A decoder with reference features treats the first and the last frame as keys, so these are always decoded.
        ends = chosen.new_tensor([0, frames.shape[1] - 1]).expand(len(chosen), 2)
        places = torch.cat([ends[:, :1], chosen, ends[:, 1:]], dim=1)

        def drawn(latents: Tensor) -> Tensor:
            return self.pipeline.decode(pick(latents, places), some_frames(condition, places))[:, 1:-1]

        pixels = drawn(estimate)
        with torch.no_grad():
            truth = choose(batch["true"], pick(frames, chosen), lambda: drawn(target))
            nothing = self.loss(pick(drawn_by_nothing(frames, condition), chosen), truth)
        return self.params.weight * self.loss(pixels, truth), self.params.weight * nothing


def random_places(count: int, number: int, known: Tensor | None, generators: Sequence[torch.Generator]) -> Tensor:
    """Indices (B, k) of at most `number` random known in-betweens of `count` frames, in temporal order, as the
    decoder's temporal layers expect."""
    places = inner(torch.arange(count)[None])[0]
    allowed = [places if known is None else places[known[row].cpu()[places]] for row in range(len(generators))]
    number = min(number, *(len(row) for row in allowed))
    drawn = [
        row[torch.randperm(len(row), generator=g)[:number].sort().values]
        for row, g in zip(allowed, generators, strict=True)
    ]
    return torch.stack(drawn)
