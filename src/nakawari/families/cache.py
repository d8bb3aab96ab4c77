"""Feature caching in sampling: reuse slowly changing features instead of recomputing them.

The deep features of a UNet are cached (Ma et al. 2024, "DeepCache"): on most steps only its outermost layers are
evaluated, for all branches of guidance, because the guidance difference changes faster than the deep features. Cached
features are extrapolated linearly from the last two evaluations. The whole network is evaluated where its
features change; they hardly change at the noisiest steps or at the end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..errors import UsageError

if TYPE_CHECKING:
    from .base import Condition, InterpolationPipeline


@dataclass(frozen=True)
class CacheLevel:
    """A level of caching.

    Args:
        share: share of the steps with a full evaluation, 0 to 1, at least three steps; at the others only the outermost
            layers are evaluated.
        depth: output layers of the network that are evaluated at every step.
    """

    share: float = 1.0
    depth: int = 1

    def count(self, steps: int) -> int:
        """Number of full evaluations in `steps` steps."""
        return min(steps, max(3, round(self.share * steps)))

    def whole(self, noise: Sequence[float]) -> tuple[bool, ...]:
        """The steps with a full evaluation: the first, and those where `CHANGE` has grown by a further equal portion.

        Args:
            noise: ln of noise to signal of every step, noisiest first; may be infinite.
        """
        (high, _), (low, _) = CHANGE[0], CHANGE[-1]
        levels = [min(max(level, low), high) for level in noise]
        count, known = self.count(len(levels)), [(-level, pace) for level, pace in CHANGE]
        paces = np.interp([-level for level in levels], *zip(*known, strict=True))
        # Steps beyond the table's ends have no change; a small value keeps the portions well defined.
        widths = np.maximum(-np.diff(levels), 0.01)
        return _placed([float(pace * width) for pace, width in zip(paces[1:], widths, strict=True)], count)


CHANGE = (
    *((6.5, 0.07), (5.0, 0.10), (4.0, 0.14), (3.2, 0.20), (2.6, 0.28), (2.2, 0.36), (1.8, 0.50), (1.4, 0.72)),
    *((1.0, 1.00), (0.5, 0.91), (0.0, 0.87), (-1.0, 0.78), (-1.75, 0.78), (-2.4, 0.43), (-3.2, 0.23), (-4.0, 0.08)),
    *((-5.0, 0.03), (-6.2, 0.01)),
)
"""ln of noise to signal -> rate of change of the deep features: the root of the relative error in the latents that one
extrapolated step causes, per unit; measured on `framer-tiny` by `benchmarks/cache_levels.py`."""


def _placed(changes: Sequence[float], count: int) -> tuple[bool, ...]:
    """The first step and `count` - 1 later ones, spaced by equal portions of `changes`, if no single step has
    more than one portion."""
    least, most = 0.0, sum(changes) + 1.0
    for _ in range(60):
        portion = (least + most) / 2
        many = sum(min(change / portion, 1.0) for change in changes) >= count - 1
        least, most = (portion, most) if many else (least, portion)
    placed, passed = [True], 0.0
    for change in changes:
        before, passed = passed, passed + min(change / least, 1.0) if least else passed + 1.0
        placed.append(int(passed + 1e-6) > int(before + 1e-6))
    return tuple(placed)


LEVELS: Mapping[str, CacheLevel | None] = MappingProxyType(
    {"none": None, "low": CacheLevel(0.27, depth=2), "medium": CacheLevel(0.27), "high": CacheLevel(0.2)}
)
"""Name -> level, from `benchmarks/cache_levels.py`; the default is no cache."""


def cache_level(name: str | CacheLevel | None) -> CacheLevel | None:
    """The level of a name; a level or None is returned unchanged.

    Raises:
        UsageError: no level has that name.
    """
    if name is None or isinstance(name, CacheLevel):
        return name
    if name not in LEVELS:
        raise UsageError(f"There is no cache level {name!r}; give one of {', '.join(LEVELS)}.")
    return LEVELS[name]


class Carried:
    """Tensors known at some steps, extrapolated linearly at the others."""

    def __init__(self) -> None:
        self._known: list[tuple[int, tuple[Tensor, ...]]] = []

    @property
    def known(self) -> bool:
        """Whether any values are stored."""
        return bool(self._known)

    def keep(self, index: int, values: tuple[Tensor, ...]) -> None:
        """Store `values` for step `index`."""
        self._known = [*self._known[-1:], (index, values)]

    def at(self, index: int) -> tuple[Tensor, ...]:
        """The extrapolated values at step `index`."""
        (last, values), (before, earlier) = self._known[-1], self._known[0]
        if last == before:
            return values
        share = (index - last) / (last - before)
        return tuple(value + (value - other) * share for value, other in zip(values, earlier, strict=True))


class CachedBranches:
    """Cached evaluation of the guidance branches during one call.

    Args:
        level: the level of caching.
        noise: ln of noise to signal of every step.
        together: evaluate branches in one batch.
    """

    def __init__(self, level: CacheLevel, noise: Sequence[float], together: bool) -> None:
        self._level, self._together = level, together
        self._whole = level.whole(noise)
        self._features: dict[int, Carried] = {}

    def outputs(
        self, pipeline: InterpolationPipeline, x: Tensor, time: int, index: int, branches: Sequence[Condition]
    ) -> list[Tensor]:
        """The output of each branch at step `index`, float32, the conditional branch first."""
        every = range(len(branches))
        answers: list[Tensor] = []
        for group in [every] if self._together else [[branch] for branch in every]:
            answers += self._evaluate(pipeline, x, time, index, [branches[branch] for branch in group], group)
        return answers

    def _evaluate(
        self,
        pipeline: InterpolationPipeline,
        x: Tensor,
        time: int,
        index: int,
        conditions: Sequence[Condition],
        group: Sequence[int],
    ) -> list[Tensor]:
        whole = self._whole[index]
        carried = [self._features.setdefault(branch, Carried()) for branch in group]
        condition = conditions[0] if len(conditions) == 1 else type(conditions[0]).cat(conditions)
        noisy = x.repeat(len(group), 1, 1, 1, 1).to(pipeline.denoiser.dtype)
        times = torch.full((len(noisy),), time, device=x.device)
        deep = None if whole else torch.cat([own.at(index)[0] for own in carried])
        answer, deep = pipeline.denoise_in_part(noisy, times, condition, self._level.depth, deep)
        if whole:
            for own, features in zip(carried, deep.chunk(len(group)), strict=True):
                own.keep(index, (features,))
        return list(answer.float().chunk(len(group)))
