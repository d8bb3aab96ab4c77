"""Losses and scores on frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from .params_parts import PixelParams

COMPARISON_FPS = 4
"""Frame rate of the GIF, slow enough to see each frame."""


class PixelLoss(nn.Module):
    """`PixelParams` as a function; the perceptual network is frozen, gradient flows through it."""

    def __init__(self, params: PixelParams) -> None:
        super().__init__()
        self.params = params
        self.perceptual: nn.Module | None = None
        if params.perceptual != "none":
            from ...perceptual import load_perceptual

            self.perceptual = load_perceptual(params.perceptual).requires_grad_(False)

    def forward(self, drawn: Tensor, truth: Tensor) -> Tensor:
        """Frames (B, F, 3, H, W) in [-1, 1] -> loss per sample (B,), float32."""
        drawn, truth = drawn.float(), truth.float()
        difference = (drawn - truth).flatten(1)
        squared = difference.square().mean(1)
        loss = self.params.l1 * difference.abs().mean(1) + self.params.l2 * squared
        if self.params.log_l2:
            loss = loss + self.params.log_l2 * (squared + self.params.log_floor).log10()
        if self.perceptual is not None:
            distance = self.perceptual(drawn.flatten(0, 1), truth.flatten(0, 1)).reshape(drawn.shape[:2])
            loss = loss + self.params.perceptual_weight * distance.mean(1)
        return loss


def middle_psnr(drawn: Tensor, truth: Tensor) -> Tensor:
    """PSNR in dB of the middle frame (of the two middle ones where F is even), per sample (B,); frames in [-1, 1]."""
    count = truth.shape[1]
    middle = slice((count - 1) // 2, count // 2 + 1)
    difference = (drawn[:, middle].clamp(-1, 1) - truth[:, middle]).float() / 2
    return -10 * difference.square().flatten(1).mean(1).clamp(min=1e-10).log10()


def mean_scores(scores: Sequence[dict[str, Tensor]]) -> dict[str, float]:
    """Per-batch scores (B,) -> their means over all samples."""
    return {name: torch.cat([batch[name] for batch in scores]).double().mean().item() for name in scores[0]}


def write_comparison(stem: Path, clips: Mapping[str, Tensor]) -> None:
    """Clips (F, 3, H, W) in [-1, 1] by label: `stem`.png with a row for each, `stem`.gif with them side by side."""
    from ...media import contact_sheet, to_uint8, write_gif, write_image

    rows = {label: list(to_uint8(clip)) for label, clip in clips.items()}
    write_image(stem.with_suffix(".png"), contact_sheet(list(rows.values()), list(rows)))
    moments = [contact_sheet([moment], captions=[list(rows)]) for moment in zip(*rows.values(), strict=True)]
    write_gif(stem.with_suffix(".gif"), moments, COMPARISON_FPS)
