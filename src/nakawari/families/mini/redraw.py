"""What a residual denoiser does instead of painting: it moves the guide's two warped keys once more and chooses.

A residual network has to paint what a line leaves behind and what it covers; moving the line is one vector. Where to
is searched for: `MatchCosts` says how well the warped keys fit each other under many further shifts, small and large,
and `GuideRedraw` weighs these shifts. Both know the guide alone, so an unguided model, whose guide is the keys in
their places, finds its motion here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...guide import Guide
from ...guide.warp import backward_warp, drawn_along
from ..tooncrafter.attention import zero_init
from .autoencoder import cosine_basis

Level = tuple[int, int]
"""A search: pixels from one shift to the next, and how many of them each way."""

FINE: Level = (2, 2)
"""The second search, around what the first one found."""

_SEARCHED = 2  # motions per place beside the guide's own: what moves, and what is behind it
_SMALL = 5  # motion of each key, and their shares
_MOVE_UNIT = 0.3  # pixels; an optimizer's first steps, alike in every weight, must not tear the picture
_LEAST_SHARE = 0.02
_COST_UNIT = 0.25
_DIFFERENCE_LIMIT = 0.5
_SHARPNESS = (8.0, 3.0)
_SHIFT_PRIOR = 1 / 16  # 16 pixels more of motion are e times less likely before anything is learnt
_REFINE_HIDDEN = 48
_FIRST_CHANCE = -2.0  # the logit of a searched motion against the guide's, untrained


class MatchCosts(nn.Module):
    """How far apart the guide's warped keys are at each place and time if they moved by each shift more.

    A shift is motion from start key to end key, seen at the in-between: at time t the start key is read a share t of it
    back, the end key a share 1 - t ahead (bilateral matching, as in Park et al. 2020, BMBC).

    Args:
        levels: the searches; a level of unit u compares pictures shrunk by u.
        stride: guide pixels per latent, along each side; each unit is a divisor or a multiple of it.
    """

    def __init__(self, levels: Sequence[Level], stride: int) -> None:
        super().__init__()
        self.levels, self.stride = tuple(levels), stride
        for unit, _ in self.levels:
            if unit % stride and stride % unit:
                raise ValueError(f"match has a unit of {unit} pixels; a divisor or a multiple of {stride} is needed")

    @torch.no_grad()
    def forward(self, guide: Guide) -> Tensor:
        """Guide of B clips of F frames -> costs (B*F, shifts, H / stride, W / stride); 0 where all colours match."""
        first, last = (key.flatten(0, 1).float() for key in (guide.start, guide.end))
        return self.between(first, last, guide.time.flatten()[:, None, None].float())

    @torch.no_grad()
    def between(self, first: Tensor, last: Tensor, time: Tensor) -> Tensor:
        """The same for two pictures (N, 3, H, W) and the time between them (N, 1, 1)."""
        return torch.cat([self._level(first, last, time, unit, reach) for unit, reach in self.levels], dim=1)

    def _level(self, first: Tensor, last: Tensor, time: Tensor, unit: int, reach: int) -> Tensor:
        height, width = (-(-side // self.stride) for side in first.shape[-2:])
        first, last = (functional.avg_pool2d(key, unit, ceil_mode=True) for key in (first, last))
        still = first.new_zeros(1, 2, *first.shape[-2:])
        costs = []
        for shift in _square(reach).to(first):
            way = still + shift[None, :, None, None] * time[:, None]
            apart = backward_warp(first, -way) - backward_warp(last, still + shift[None, :, None, None] - way)
            costs.append(apart.abs().mean(1).clamp(max=_DIFFERENCE_LIMIT))
        found = functional.avg_pool2d(torch.stack(costs, dim=1), 3, 1, 1, count_include_pad=False) / _COST_UNIT
        if unit < self.stride:
            return functional.avg_pool2d(found, self.stride // unit, ceil_mode=True)
        return functional.interpolate(found, scale_factor=unit // self.stride)[..., :height, :width]


def count(levels: Sequence[Level]) -> int:
    """How many shifts there are."""
    return sum((2 * reach + 1) ** 2 for _, reach in levels)


def shifts_of(levels: Sequence[Level]) -> Tensor:
    """All shifts (n, 2) in pixels, x first, in the order of the costs."""
    return torch.cat([unit * _square(reach) for unit, reach in levels])


def _square(reach: int) -> Tensor:
    """All whole shifts (x, y) with both sides within `reach`, the nearest to none in the middle: (n, 2)."""
    steps = torch.arange(-reach, reach + 1, dtype=torch.float32)
    return torch.cartesian_prod(steps, steps)


class GuideRedraw(nn.Module):
    """Moves the guide's two warped keys once more, chooses between them, and says the change in latents.

    Beside the guide's own picture there are two more, moved by means of the shifts that the features and the costs
    weigh; each picture is looked at once more, searched again at a small scale and mended, and then it is said which
    picture shows where. Untrained it moves nearly nothing and answers nearly zero.

    Args:
        channels: of the features that it reads.
        stride: guide pixels per latent, along each side.
        latent_channels: channels of the answer.
        gain: what the latents of a picture that changes by one are in the answer.
        levels: the searches whose costs it gets, see `MatchCosts`.
    """

    def __init__(self, channels: int, stride: int, latent_channels: int, gain: float, levels: Sequence[Level]) -> None:
        super().__init__()
        self.stride = stride
        self.search = ShiftChoice(channels, levels, _SHARPNESS)
        self.refine = Refine(channels, stride)
        self.to_latents = nn.Conv2d(3, latent_channels, stride, stride=stride, bias=False)
        nn.init.zeros_(self.to_latents.weight)
        basis = cosine_basis(stride)
        for index in range(latent_channels):
            frequency, colour = divmod(index, 3)
            self.to_latents.weight.data[index, colour] = basis[frequency] * gain / stride

    def forward(self, features: Tensor, guide: Guide, costs: Tensor) -> Tensor:
        """Features (B*F, C, h, w), a guide of frames h * stride x w * stride, costs as `MatchCosts` gives them ->
        (B*F, latent_channels, h, w)."""
        guide = guide.map(Tensor.float)
        keys = Keys(guide.start.flatten(0, 1), guide.end.flatten(0, 1), guide.time.flatten()[:, None, None, None])
        redrawn = self._searched(features, keys, costs)
        return self.to_latents((redrawn - guide.blend().flatten(0, 1)).to(features.dtype))

    def _searched(self, features: Tensor, keys: Keys, costs: Tensor) -> Tensor:
        """The mean of the picture as the guide has it and of those that were searched, weighed pixel by pixel."""
        motions = [_wide(motion, self.stride) for motion in self.search(features, costs)]
        pictures, chances = [], []
        for number, motion in enumerate([torch.zeros_like(motions[0]), *motions]):
            further, small, chance = self.refine(features, keys.moved(motion))
            pictures.append(keys.mixed(small, motion + further))
            chances.append(chance if number == 0 else chance + _FIRST_CHANCE)
        weights = torch.cat(chances, dim=1).softmax(1)
        return (torch.stack(pictures, dim=1) * weights[:, :, None]).sum(1)


class Keys(NamedTuple):
    """The guide's warped keys (N, 3, H, W) and the time of each in-between (N, 1, 1, 1)."""

    first: Tensor
    last: Tensor
    time: Tensor

    def moved(self, motion: Tensor) -> Keys:
        """The keys with `motion` (N, 2, H, W) in pixels more between start and end key."""
        first, last = backward_warp(self.first, -self.time * motion), backward_warp(self.last, (1 - self.time) * motion)
        return Keys(first, last, self.time)

    def mixed(self, small: Tensor, motion: Tensor | None = None) -> Tensor:
        """One picture of both keys: moved by `motion`, and each by itself and weighed as `small` (N, 5, H, W) says."""
        to_start, to_end = small[:, 0:2] * _MOVE_UNIT, small[:, 2:4] * _MOVE_UNIT
        if motion is not None:
            to_start, to_end = to_start - self.time * motion, to_end + (1 - self.time) * motion
        share = (self.time.clamp(_LEAST_SHARE, 1 - _LEAST_SHARE).logit() + small[:, 4:5] * _MOVE_UNIT).sigmoid()
        return torch.lerp(drawn_along(self.first, to_start), drawn_along(self.last, to_end), share)


class ShiftChoice(nn.Module):
    """Means of shifts, weighed by how well the keys match under each and by what the features say.

    Args:
        channels: of the features.
        levels: the searches that the shifts are of, see `MatchCosts`.
        sharpness: for each motion that is wanted, how much the costs count before anything is learnt.
    """

    def __init__(self, channels: int, levels: Sequence[Level], sharpness: Sequence[float]) -> None:
        super().__init__()
        self.levels = tuple(levels)
        self.choice = nn.Conv2d(channels, len(sharpness) * count(levels), 3, padding=1)
        nn.init.normal_(self.choice.weight, std=0.01)
        nn.init.zeros_(self.choice.bias)
        self.sharpness = nn.Parameter(torch.tensor(sharpness).log())

    def forward(self, features: Tensor, costs: Tensor) -> Sequence[Tensor]:
        """Features (N, C, h, w), costs (N, n, h, w) -> motions (N, 2, h, w) in pixels, float32."""
        shifts = shifts_of(self.levels).to(costs.device)
        prior = _SHIFT_PRIOR * shifts.norm(dim=1)[:, None, None]
        said = self.choice(features).float().chunk(len(self.sharpness), dim=1)
        return [
            torch.einsum("nkhw,kc->nchw", (logits - sharp.exp() * costs - prior).softmax(1), shifts)
            for logits, sharp in zip(said, self.sharpness, strict=True)
        ]


class Refine(nn.Module):
    """A second look at keys that were moved: what is still between them, and whether this is the picture to show.

    Args:
        channels: of the features.
        stride: pixels per latent, along each side.
    """

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.costs = MatchCosts([FINE], stride)
        width = _REFINE_HIDDEN
        self.seen = channels, 6 * stride**2, count([FINE])
        self.look = nn.Sequential(
            nn.Conv2d(sum(self.seen), width, 1),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.SiLU(),
        )
        self.search = ShiftChoice(width, [FINE], _SHARPNESS[:1])
        self.small = zero_init(nn.Conv2d(width, (_SMALL + 1) * stride**2, 3, padding=1))

    def forward(self, features: Tensor, keys: Keys) -> tuple[Tensor, Tensor, Tensor]:
        """Features (N, C, h, w) and the moved keys -> the motion to add (N, 2, H, W) in pixels, what `Keys.mixed`
        takes (N, 5, H, W), and the logit (N, 1, H, W) that the picture shows here."""
        pictures = torch.cat([keys.first, keys.last], dim=1).detach()
        costs = self.costs.between(pictures[:, :3], pictures[:, 3:], keys.time[:, 0])
        seen = [
            features,
            functional.pixel_unshuffle(pictures, self.stride).to(features.dtype),
            costs.to(features.dtype),
        ]
        hidden = self.look(torch.cat(seen, dim=1))
        motion = _wide(self.search(hidden, costs)[0], self.stride)
        # Motion is in pixels, which half precision would quantise.
        said = functional.pixel_shuffle(self.small(hidden).float(), self.stride)
        return motion, said[:, :_SMALL], said[:, _SMALL:]


def _wide(motion: Tensor, stride: int) -> Tensor:
    """Motion (N, 2, h, w) for every pixel."""
    return functional.interpolate(motion, scale_factor=stride, mode="bilinear")
