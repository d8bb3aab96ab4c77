"""A sequence drawn by several models, side by side as picture and film, with their times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..media import contact_sheet
from .drawn import Drawn

GAP = 8
PAPER = 250


@dataclass(frozen=True)
class Timed:
    """One model's drawing.

    Args:
        name: the variant's.
        drawn: the sequence.
        seconds: wall time of drawing it.
        evaluations: number of denoiser evaluations, including guidance branches.
    """

    name: str
    drawn: Drawn
    seconds: float
    evaluations: int


def label(row: Timed) -> str:
    """The label above a model's row."""
    made = sum(key is None for key in row.drawn.keys)
    each = row.seconds / max(made, 1)
    return f"{row.name}: {made} in-betweens in {row.seconds:.1f} s ({each:.2f} s each), {row.evaluations} evaluations"


def sheet(rows: Sequence[Timed], columns: int = 9) -> np.ndarray:
    """A contact sheet (H, W, 3), one row of at most `columns` frames for each model, evenly chosen, keys marked."""
    places = [sorted({round(place) for place in np.linspace(0, len(row.drawn.frames) - 1, columns)}) for row in rows]
    return contact_sheet(
        [[row.drawn.frames[place] for place in chosen] for row, chosen in zip(rows, places, strict=True)],
        [label(row) for row in rows],
        [[f"{place + 1}" for place in chosen] for chosen in places],
        [[row.drawn.keys[place] is not None for place in chosen] for row, chosen in zip(rows, places, strict=True)],
    )


def film(rows: Sequence[Timed]) -> list[np.ndarray]:
    """The sequences beside each other, frame by frame (H, W, C), with a white strip between them."""
    return [
        np.concatenate([part for frame in frames for part in (np.full_like(frame[:, :GAP], PAPER), frame)][1:], axis=1)
        for frames in zip(*(row.drawn.frames for row in rows), strict=True)
    ]
