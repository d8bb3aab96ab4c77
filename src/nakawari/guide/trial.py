"""What a guide draws of one fixed gap: it has no weights and no settings, so nothing else tells two revisions apart."""

from __future__ import annotations

import hashlib
from functools import cache

import torch
from torch import Tensor

from .layout import MOTION_UNIT, GuideMaker

_SIZE = 64, 96  # height and width of the fixed keys in pixels
_FAR, _NEAR = 14, 3  # shift of the disc and of the ground in pixels


def trial_hash(guide: GuideMaker) -> str:
    """SHA-256 over the guide of a fixed gap, in which a disc passes over a ground that pans the other way.

    What was saved of a guide is kept under this key, so that a revision that draws otherwise makes it again. Values are
    rounded to a level of 255 and a quarter of a pixel: the last bit of a sum may depend on the number of threads.
    """
    start, end = _keys()
    with torch.no_grad():
        drawn = guide(start, end, torch.tensor([0.5]))
    levels = [(drawn.start + 1) * 127.5, (drawn.end + 1) * 127.5, drawn.trust * 255, drawn.motion * MOTION_UNIT * 4]
    return hashlib.sha256(torch.cat(levels, dim=2).round().to(torch.int16).cpu().numpy().tobytes()).hexdigest()


@cache
def _keys() -> tuple[Tensor, Tensor]:
    """Two keys, (1, 3, H, W) in [-1, 1]."""
    start, end = (_picture(moment) for moment in (0, 1))
    return start[None], end[None]


def _picture(moment: int) -> Tensor:
    height, width = _SIZE
    y, x = torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing="ij")
    ground = x + _NEAR * moment
    waves = torch.stack([(ground / 5 + y / 9).sin(), (ground / 11 - y / 4).sin(), (ground / 7 + 1).cos()]) * 0.4
    disc = (x - 40 + _FAR * moment).square() + (y - 32).square() < 12**2
    return torch.where(disc, torch.tensor([0.8, -0.2, -0.6])[:, None, None] + (y / 6).sin() * 0.2, waves)
