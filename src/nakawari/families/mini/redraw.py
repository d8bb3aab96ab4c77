"""The warping head of mini's denoiser: warp the guide's two warped keys once more and choose between the results.

A residual head must predict all pixels that a moving line uncovers and covers; warping needs one vector. The vector is
searched: `MatchCosts` is a cost volume of the warped keys over many further shifts, small and large,
and `GuideRedraw` weights these shifts. Both read only the guide, so an unguided model, whose guide is the unwarped
keys, finds its motion here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...guide import Guide
from ...guide.warp import backward_warp, drawn_along, resized, shrunk
from ...precision import in_float32
from ..tooncrafter.attention import zero_init
from ..tooncrafter.blocks import PointConv
from .autoencoder import ToPatches, cosine_basis
from .cells import channels_last, shuffled, unshuffled

Level = tuple[int, int]
"""A search: pixels between adjacent shifts, and shifts in each direction."""

FINE: Level = (2, 2)
"""The second search, around the result of the first."""

_SEARCHED = 2  # motions per position besides the guide's own: foreground and background
_SMALL = 5  # residual motion of each key, and their blend weight
_MOVE_UNIT = 0.3  # pixels; limits the effect of the optimizer's first steps
_LEAST_SHARE = 0.02
_COST_UNIT = 0.25
_DIFFERENCE_LIMIT = 0.5
_SHARPNESS = (8.0, 3.0)
_SHIFT_PRIOR = 1 / 16  # initially 16 pixels more of motion are e times less likely
_REFINE_HIDDEN = 48
_FIRST_CHANCE = -2.0  # initial logit of a searched motion against the guide's


class MatchCosts(nn.Module):
    """Cost volume: the difference of the guide's warped keys at each position and time for each further shift.

    A shift is motion from start key to end key at the in-between: at time t the start key is sampled t times the shift
    back, the end key 1 - t times the shift ahead (bilateral matching, as in Park et al. 2020, BMBC).

    Args:
        levels: the searches; a level of unit u compares pictures downscaled by u.
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
        alike: dict[float, list[int]] = {}
        for number, moment in enumerate(time.flatten().tolist()):
            alike.setdefault(moment, []).append(number)
        if len(alike) == 1:
            return self._at(first, last, *alike)
        found = torch.empty(0)
        for moment, members in alike.items():
            costs = self._at(first[members], last[members], moment)
            found = found if len(found) else costs.new_empty(len(first), *costs.shape[1:])
            found[members] = costs
        return found

    def _at(self, first: Tensor, last: Tensor, moment: float) -> Tensor:
        return torch.cat([self._level(first, last, moment, unit, reach) for unit, reach in self.levels], dim=1)

    def _level(self, first: Tensor, last: Tensor, moment: float, unit: int, reach: int) -> Tensor:
        height, width = (-(-side // self.stride) for side in first.shape[-2:])
        # A shift is the same for all pixels, so it is interpolated from two neighbouring slices, x first, then y.
        pad = [reach + 1] * 4
        first, last = (functional.pad(shrunk(key, unit), pad, mode="replicate") for key in (first, last))
        steps = range(-reach, reach + 1)
        first_rows = torch.stack([_slid(first, -moment * x, -1, reach + 1) for x in steps], dim=1)
        last_rows = torch.stack([_slid(last, (1 - moment) * x, -1, reach + 1) for x in steps], dim=1)
        shape = len(first), len(steps), len(steps), *(side - 2 * (reach + 1) for side in first.shape[-2:])
        costs = first.new_empty(shape)
        for place, y in enumerate(steps):
            one = _slid(first_rows, -moment * y, -2, reach + 1)
            other = _slid(last_rows, (1 - moment) * y, -2, reach + 1)
            red, green, blue = (one - other).abs_().unbind(2)
            torch.clamp((red + green).add_(blue), max=3 * _DIFFERENCE_LIMIT, out=costs[:, :, place])
        found = costs.flatten(1, 2)
        scale = 1 / (3 * _COST_UNIT)  # of the sums of three colours
        if self.stride == 2 * unit and not any(side % 2 for side in found.shape[-2:]):
            return _half_box_mean(found, scale)
        found = _box_mean(found).mul_(scale)
        if unit < self.stride:
            return shrunk(found, self.stride // unit)
        return functional.interpolate(found, scale_factor=unit // self.stride)[..., :height, :width]


def _slid(padded: Tensor, shift: float, dim: int, pad: int) -> Tensor:
    """A tensor with `pad` values on both sides, shifted by `shift` along `dim` with linear interpolation."""
    whole = math.floor(shift)
    size = padded.shape[dim] - 2 * pad
    near = padded.narrow(dim, pad + whole, size)
    part = shift - whole
    return torch.lerp(near, padded.narrow(dim, pad + whole + 1, size), part) if part else near


def _box_mean(values: Tensor) -> Tensor:
    """The 3 x 3 mean of each position (..., H, W), within the picture."""
    for dim in (-1, -2):
        size = values.shape[dim]
        total, count = values.clone(), values.new_ones(size)
        total.narrow(dim, 1, size - 1).add_(values.narrow(dim, 0, size - 1))
        total.narrow(dim, 0, size - 1).add_(values.narrow(dim, 1, size - 1))
        count[1:] += 1
        count[:-1] += 1
        values = total.div_(count if dim == -1 else count[:, None])
    return values


def _half_box_mean(values: Tensor, scale: float) -> Tensor:
    """`_box_mean`, of which the means of squares of two by two are taken, times `scale`. Sides are even.

    Both together are one sum of four, along each side, whose inner two weigh twice.
    """
    above, below = values[..., ::2, :], values[..., 1::2, :]
    total = _spread_sum(above, below, -2)
    left, right = total[..., ::2].contiguous(), total[..., 1::2].contiguous()
    return _spread_sum(left, right, -1).mul_(scale / 36)


def _spread_sum(even: Tensor, odd: Tensor, dim: int) -> Tensor:
    """Six times the mean of each pair of 3-means along `dim`, whose even and odd places are given."""
    size = even.shape[dim]
    pair = even + odd
    total = 2 * pair
    for end in (0, size - 1):  # where the mean is that of two places
        total.narrow(dim, end, 1).add_(pair.narrow(dim, end, 1), alpha=0.5)
    total.narrow(dim, 1, size - 1).add_(odd.narrow(dim, 0, size - 1))
    total.narrow(dim, 0, size - 1).add_(even.narrow(dim, 1, size - 1))
    return total


def count(levels: Sequence[Level]) -> int:
    """Number of shifts."""
    return sum((2 * reach + 1) ** 2 for _, reach in levels)


def shifts_of(levels: Sequence[Level]) -> Tensor:
    """All shifts (n, 2) in pixels, x first, in the order of the costs."""
    return torch.cat([unit * _square(reach) for unit, reach in levels])


def _square(reach: int) -> Tensor:
    """All integer shifts (x, y) within `reach`, the zero shift in the middle: (n, 2)."""
    steps = torch.arange(-reach, reach + 1, dtype=torch.float32)
    return torch.cartesian_prod(steps, steps)


class GuideRedraw(nn.Module):
    """Warps the guide's two warped keys once more, chooses between the results, and returns the change in latents.

    Besides the guide's own picture there are two more, warped by the means of the shifts weighted by features and
    costs; each picture is searched again at a small scale and corrected, and then a picture is selected per
    pixel. Untrained it hardly moves anything and its output is nearly zero.

    Args:
        channels: of the features that it reads.
        stride: guide pixels per latent, along each side.
        latent_channels: channels of the output.
        gain: scale of the output for a picture change of one.
        levels: the searches of its costs, see `MatchCosts`.
    """

    def __init__(self, channels: int, stride: int, latent_channels: int, gain: float, levels: Sequence[Level]) -> None:
        super().__init__()
        self.stride = stride
        self.search = ShiftChoice(channels, levels, _SHARPNESS)
        self.refine = Refine(channels, stride)
        self.to_latents = ToPatches(3, latent_channels, stride, stride=stride, bias=False)
        nn.init.zeros_(self.to_latents.weight)
        basis = cosine_basis(stride)
        for index in range(latent_channels):
            frequency, colour = divmod(index, 3)
            self.to_latents.weight.data[index, colour] = basis[frequency] * gain / stride

    def forward(self, features: Tensor, guide: Guide, costs: Tensor) -> tuple[Tensor, list[Look]]:
        """The change in latents, and the looks.

        Args:
            features: (B*F, C, h, w).
            guide: of frames h * stride x w * stride.
            costs: output of `MatchCosts`.

        Returns:
            Latents (B*F, latent_channels, h, w), and the guide's own picture and the further ones for
            `Keys.drawn`.
        """
        guide = guide.map(Tensor.float)
        keys = Keys(guide.start.flatten(0, 1), guide.end.flatten(0, 1), guide.time.flatten()[:, None, None, None])
        looks = self._looks(features, keys, costs)
        change = keys.drawn(looks) - guide.blend().flatten(0, 1)
        return self.to_latents(change.to(features.dtype)), looks

    def _looks(self, features: Tensor, keys: Keys, costs: Tensor) -> list[Look]:
        own = self.refine(features, keys)
        looks = [Look(own.motion, own.small, own.chance)]
        for motion in self.search(features, costs):
            wide = _wide(motion, self.stride)
            seen = self.refine(features, keys.moved(wide))
            looks.append(Look(wide + seen.motion, seen.small, seen.chance + _FIRST_CHANCE))
        return looks


class Look(NamedTuple):
    """One candidate picture of a pair of keys: their further `motion` (N, 2, H, W) in pixels; `small` (N, 5, H, W), the
    residual motion of each key and the blend weight, see `Keys.mixed`; `chance` (N, 1, H, W), the selection logit."""

    motion: Tensor
    small: Tensor
    chance: Tensor


class Keys(NamedTuple):
    """The guide's warped keys (N, 3, H, W) and the time of each in-between (N, 1, 1, 1).

    Drawing may be limited to a strip of rows that starts at row `top`.
    """

    first: Tensor
    last: Tensor
    time: Tensor
    top: int = 0

    def moved(self, motion: Tensor) -> Keys:
        """The keys warped by a further `motion` (N, 2, H, W) in pixels between start and end key."""
        first, last = backward_warp(self.first, -self.time * motion), backward_warp(self.last, (1 - self.time) * motion)
        return Keys(first, last, self.time)

    def mixed(self, small: Tensor, motion: Tensor) -> Tensor:
        """One picture of both keys: warped by `motion`, then each by its residual motion, and blended, by `small` (N,
        5, H, W)."""
        to_start = torch.addcmul(small[:, 0:2] * _MOVE_UNIT, motion, -self.time)
        to_end = torch.addcmul(small[:, 2:4] * _MOVE_UNIT, motion, 1 - self.time)
        share = (self.time.clamp(_LEAST_SHARE, 1 - _LEAST_SHARE).logit() + small[:, 4:5] * _MOVE_UNIT).sigmoid()
        first, last = drawn_along(self.first, to_start, self.top), drawn_along(self.last, to_end, self.top)
        return torch.lerp(first, last, share)

    def drawn(self, looks: Sequence[Look]) -> Tensor:
        """The per-pixel weighted mean (N, 3, H, W) of several pictures of these keys."""
        weights = torch.cat([look.chance for look in looks], dim=1).softmax(1)
        drawn = self.first.new_zeros(())
        for look, weight in zip(looks, weights.split(1, dim=1), strict=True):
            drawn = torch.addcmul(drawn, self.mixed(look.small, look.motion), weight)
        return drawn


class ShiftChoice(nn.Module):
    """Mean shifts, weighted by the match costs and by logits from the features.

    Args:
        channels: of the features.
        levels: the searches of the shifts, see `MatchCosts`.
        sharpness: for each motion, the initial weight of the costs.
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
        prior, each = _SHIFT_PRIOR * shifts.norm(dim=1), shifts.t().contiguous()
        # Shifts last, the memory layout in which convolutions are fastest.
        said = self.choice(features).permute(0, 2, 3, 1).chunk(len(self.sharpness), dim=-1)
        known = costs.permute(0, 2, 3, 1)
        with in_float32(costs):
            return [
                functional.linear(
                    torch.addcmul(logits.float(), known, -sharp.exp()).sub_(prior).softmax(-1), each
                ).permute(0, 3, 1, 2)
                for logits, sharp in zip(said, self.sharpness, strict=True)
            ]


class Refine(nn.Module):
    """A second look at the warped keys: their residual motion, and the selection logit.

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
            PointConv(sum(self.seen), width, 1),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.SiLU(),
        )
        self.search = ShiftChoice(width, [FINE], _SHARPNESS[:1])
        self.small = zero_init(nn.Conv2d(width, (_SMALL + 1) * stride**2, 3, padding=1))

    def forward(self, features: Tensor, keys: Keys) -> Look:
        """Features (N, C, h, w) and the warped keys -> a `Look` with the correction of their motion."""
        first, last = keys.first.detach(), keys.last.detach()
        costs = self.costs.between(first, last, keys.time)
        # Channels last as the others are, or the result is not and its convolution takes several times as long.
        costs = channels_last(costs)
        seen = [features, *(unshuffled(key.to(features.dtype), self.stride) for key in (first, last))]
        seen.append(costs.to(features.dtype))
        hidden = self.look(torch.cat(seen, dim=1))
        motion = _wide(self.search(hidden, costs)[0], self.stride)
        # Motion is in pixels, which half precision would quantise.
        said = shuffled(self.small(hidden), self.stride).float()
        return Look(motion, said[:, :_SMALL], said[:, _SMALL:])


def _wide(motion: Tensor, stride: int) -> Tensor:
    """Motion (N, 2, h, w) for every pixel."""
    return resized(motion, (motion.shape[-2] * stride, motion.shape[-1] * stride))
