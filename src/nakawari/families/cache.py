"""Sampling with less work: what changes slowly from step to step is kept, and carried on, instead of computed anew.

Two things are kept. The deep features of a UNet (Ma et al. 2024, "DeepCache"): on most steps only its outermost layers
are evaluated. And what guidance adds: the difference between the branches, which needs the second branch at some steps
only. Both are carried on in a straight line from the last two steps at which they were known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import UsageError

if TYPE_CHECKING:
    from .base import Condition, InterpolationPipeline


@dataclass(frozen=True)
class CacheLevel:
    """How much is kept.

    Args:
        deep_every: the whole network is evaluated at every step of this number, and its outermost layers at the others.
        guidance_every: all branches of guidance are evaluated at every step of this number, and the conditional one at
            the others.
        depth: output layers of the network that are evaluated at every step.
        first: share of the steps at the beginning at which nothing is left out; two steps at least.
        last: steps at the end at which nothing is left out.
    """

    deep_every: int = 1
    guidance_every: int = 1
    depth: int = 1
    first: float = 0.0
    last: int = 1

    def whole(self, index: int, steps: int) -> bool:
        """Whether the whole network is evaluated at step `index` of `steps`; it is wherever all branches are."""
        return self.all_branches(index, steps) or self._due(index, steps, self.deep_every)

    def all_branches(self, index: int, steps: int) -> bool:
        """Whether all branches are evaluated at step `index` of `steps`."""
        return self._due(index, steps, self.guidance_every)

    def _due(self, index: int, steps: int, every: int) -> bool:
        first = max(2, round(self.first * steps))
        return index < first or index >= steps - self.last or (index - first) % every == every - 1


LEVELS: Mapping[str, CacheLevel | None] = MappingProxyType(
    {
        "none": None,
        "low": CacheLevel(deep_every=2, guidance_every=2),
        "medium": CacheLevel(deep_every=3, guidance_every=3, first=0.2),
        "high": CacheLevel(deep_every=5, guidance_every=5, first=0.2),
    }
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
        steps: of the call.
        together: evaluate branches in one batch.
    """

    def __init__(self, level: CacheLevel, steps: int, together: bool) -> None:
        self._level, self._steps, self._together = level, steps, together
        self._features: dict[int, Carried] = {}
        self._differences: dict[int, Carried] = {}

    def outputs(
        self, pipeline: InterpolationPipeline, x: Tensor, time: int, index: int, branches: Sequence[Condition]
    ) -> list[Tensor]:
        """What each branch answers, in float32, at step `index`: the conditional branch first."""
        every = self._level.all_branches(index, self._steps)
        asked = range(len(branches) if every else 1)
        groups = [asked] if self._together else [[branch] for branch in asked]
        answers: list[Tensor] = []
        for group in groups:
            answers += self._evaluate(pipeline, x, time, index, [branches[branch] for branch in group], group)
        conditional = answers[0]
        for branch in range(1, len(branches)):
            carried = self._differences.setdefault(branch, Carried())
            if every:
                carried.keep(index, (conditional - answers[branch],))
            else:
                answers.append(conditional - carried.at(index)[0])
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
        whole = self._level.whole(index, self._steps)
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
