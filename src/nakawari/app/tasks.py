"""Computations for the pages that no command provides; they run in the worker process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import NakawariError, UsageError
from ..interpolation.record import earlier_in
from ..media import list_images, read_rgb

if TYPE_CHECKING:
    from ..evaluation.scored import Scored

MATCHES = 8


def match(first: str, second: str, seed: int) -> list[list[list[float]]]:
    """Matching points of two key drawings, as straight tracks [[x, y], [x, y]] in pixels.

    Raises:
        NakawariError: nothing matches.
    """
    from ..families.framer.matching import match_keys

    ends = [read_rgb(name) for name in (first, second)]
    found = match_keys(ends[0], ends[1], rule="max_score_even", count=MATCHES * 4, seed=seed)
    if found is None:
        raise NakawariError("No points match between these two keys; set the points yourself.")
    sure = found[:, :MATCHES]
    height, width = ends[0].shape[:2]
    sure[..., 0], sure[..., 1] = sure[..., 0].clip(0, width - 1), sure[..., 1].clip(0, height - 1)
    return [[start.tolist(), end.tolist()] for start, end in zip(*sure, strict=True)]


def score(sides: list[str], truth: str) -> list[dict[str, str]]:
    """PSNR and ST-LPIPS of drawn sequences against the true frames.

    Args:
        sides: result folders.
        truth: a folder of images, one per in-between or one per frame of the sequence.

    Raises:
        NakawariError: the number or size of the images does not match.
    """
    from ..evaluation.metrics import available

    frames = [read_rgb(path) for path in list_images(Path(truth))]
    found = []
    for side in sides:
        scored = _scored(Path(side), frames)
        values = {metric.title: metric(scored) for metric in available(("psnr", "st-lpips"))}
        found.append({title: f"{value:.4g}" for title, value in values.items()})
    return found


def _scored(folder: Path, truth: Sequence[np.ndarray]) -> Scored:
    from ..evaluation.scored import Scored

    drawn = [(read_rgb(folder / frame["file"]), frame["key"]) for frame in earlier_in(folder).record["frames"]]
    between = [pixels for pixels, key in drawn if key is None]
    if len(truth) == len(drawn):
        truth = [pixels for pixels, (_, key) in zip(truth, drawn, strict=True) if key is None]
    if len(truth) != len(between) or not between:
        raise UsageError(
            f"There are {len(truth)} true frames, but {len(between)} in-betweens among {len(drawn)} frames; give one "
            "for each in-between, or one for each frame."
        )
    if truth[0].shape != between[0].shape:
        (high, wide), (rows, columns) = truth[0].shape[:2], between[0].shape[:2]
        raise UsageError(f"The true frames are {wide}x{high}, but {columns}x{rows} was drawn; give them at that size.")
    ends = np.stack([drawn[0][0], drawn[-1][0]])
    return Scored(np.stack(between), np.stack(truth), ends, ends)
