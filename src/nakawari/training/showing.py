"""A contact sheet of training samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..media import contact_sheet, to_uint8
from .data_params import WindowsParams
from .data_sources import training_samples
from .recipe import Recipe
from .run import build_objective, guide_of

SAMPLES = 12
_ACROSS = 2


def samples_sheet(recipe: Recipe, count: int = SAMPLES) -> NDArray[np.uint8]:
    """The first `count` samples of a run, cropped and augmented as in training: first, middle and last frame
    of each, two samples in a row; (H, W, 3).

    With `data.windows` only `count` windows are computed, so these differ from the run's windows.
    """
    guide = None
    if recipe.data.windows is not None:
        recipe, guide = with_few_windows(recipe, count), guide_of(build_objective(recipe))
    stream = training_samples(recipe, guide)
    samples = [stream.sample(index) for index in range(count)]
    rows, labels, captions, keys = [], [], [], []
    for first in range(0, count, _ACROSS):
        shown = samples[first : first + _ACROSS]
        rows.append([frame for sample in shown for frame in _ends_and_middle(to_uint8(sample["frames"]))])
        labels.append("   |   ".join(str(sample["name"]) for sample in shown))
        captions.append(["first", "middle", "last"] * len(shown))
        keys.append([True, False, True] * len(shown))
    return contact_sheet(rows, labels, captions, keys)


def with_few_windows(recipe: Recipe, count: int) -> Recipe:
    """`recipe` with only `count` windows, for a preview; see `WindowsParams`."""
    if recipe.data.windows is None:
        return recipe
    few: WindowsParams = recipe.data.windows.model_copy(update={"count": count})
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"windows": few})})


def _ends_and_middle(frames: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    return [frames[0], frames[len(frames) // 2], frames[-1]]
