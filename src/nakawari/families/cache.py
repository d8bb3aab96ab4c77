"""Sampling with less work: what changes slowly from step to step is kept, and carried on, instead of computed anew.

The deep features of a UNet are kept (Ma et al. 2024, "DeepCache"): on most steps only its outermost layers are
evaluated, for all branches of guidance: what guidance adds changes faster than the deep features do. What is kept is
carried on in a straight line from the last two steps at which it was known. The whole network is evaluated where its
features change, which they hardly do while all is noise, nor at the end.
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
    """How much is kept.

    Args:
        share: of the steps, at which the whole network is evaluated; at the others its outermost layers are. 0 to 1;
            three steps at least.
        depth: output layers of the network that are evaluated at every step.
    """

    share: float = 1.0
    depth: int = 1

    def count(self, steps: int) -> int:
        """At how many of `steps` steps the whole network is evaluated."""
        return min(steps, max(3, round(self.share * steps)))

    def whole(self, noise: Sequence[float]) -> tuple[bool, ...]:
        """At which steps the whole network is evaluated: the first, and where `CHANGE` has grown by one more portion.

        Args:
            noise: of every step, from the noisiest on, ln of noise to signal; may be infinite.
        """
        (high, _), (low, _) = CHANGE[0], CHANGE[-1]
        levels = [min(max(level, low), high) for level in noise]
        count, known = self.count(len(levels)), [(-level, pace) for level, pace in CHANGE]
        paces = np.interp([-level for level in levels], *zip(*known, strict=True))
        # Steps beyond the table's ends are as far apart as none: a little, so that the portions still come out.
        widths = np.maximum(-np.diff(levels), 0.01)
        return _placed([float(pace * width) for pace, width in zip(paces[1:], widths, strict=True)], count)


CHANGE = (
    *((6.5, 0.07), (5.0, 0.10), (4.0, 0.14), (3.2, 0.20), (2.6, 0.28), (2.2, 0.36), (1.8, 0.50), (1.4, 0.72)),
    *((1.0, 1.00), (0.5, 0.91), (0.0, 0.87), (-1.0, 0.78), (-1.75, 0.78), (-2.4, 0.43), (-3.2, 0.23), (-4.0, 0.08)),
    *((-5.0, 0.03), (-6.2, 0.01)),
)
"""ln of noise to signal -> how fast the deep features change there, as the root of the error, per unit of it, that one
step carried on makes in the latents, relative; measured on `framer-tiny` by `benchmarks/cache_levels.py`."""


def _placed(changes: Sequence[float], count: int) -> tuple[bool, ...]:
    """The first step, and `count` - 1 of those behind it, each after an equal portion of `changes` where no step has
    more than one."""
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
"""Name -> level, from `benchmarks/cache_levels.py`; none is the default everywhere."""


def cache_level(name: str | CacheLevel | None) -> CacheLevel | None:
    """The level of a name; a level, and None, as they are.

    Raises:
        UsageError: no level has that name.
    """
    if name is None or isinstance(name, CacheLevel):
        return name
    if name not in LEVELS:
        raise UsageError(f"There is no cache level {name!r}; take one of {', '.join(LEVELS)}.")
    return LEVELS[name]


class Carried:
    """Tensors that are known at some steps, and carried on in a straight line at the others."""

    def __init__(self) -> None:
        self._known: list[tuple[int, tuple[Tensor, ...]]] = []

    @property
    def known(self) -> bool:
        """Whether anything has been kept."""
        return bool(self._known)

    def keep(self, index: int, values: tuple[Tensor, ...]) -> None:
        """They are `values` at step `index`."""
        self._known = [*self._known[-1:], (index, values)]

    def at(self, index: int) -> tuple[Tensor, ...]:
        """What they are, presumably, at step `index`."""
        (last, values), (before, earlier) = self._known[-1], self._known[0]
        if last == before:
            return values
        share = (index - last) / (last - before)
        return tuple(value + (value - other) * share for value, other in zip(values, earlier, strict=True))


class CachedBranches:
    """The branches of guidance along one call.

    Args:
        level: what is left out.
        noise: of every step, ln of noise to signal.
        together: evaluate branches in one batch.
    """

    def __init__(self, level: CacheLevel, noise: Sequence[float], together: bool) -> None:
        self._level, self._together = level, together
        self._whole = level.whole(noise)
        self._features: dict[int, Carried] = {}

    def outputs(
        self, pipeline: InterpolationPipeline, x: Tensor, time: int, index: int, branches: Sequence[Condition]
    ) -> list[Tensor]:
        """What each branch answers, in float32, at step `index`: the conditional branch first."""
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
