"""The result of drawing: a gap, and a whole sequence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .plan import GapPlan
from .spacing import Shares
from .tracks import GapTracks

OF_MODEL = ("steps", "guidance", "scheduler", "seed")
"""Record fields of the model's settings in effect."""
OF_GAP = ("drawn_by", "cut", "confidence", "palette", "notes", *OF_MODEL, "redrawn")
"""Record fields of every gap: its method, whether its keys seem to be of different scenes, the confidence of each
in-between (0 to 1), whether they use the keys' palette, notes about ignored settings, the model's settings, and its
single frames that were drawn again with other settings."""

Pair = tuple[np.ndarray, np.ndarray]
"""Two keys, or one layer of them, uint8 (H, W, C)."""


@dataclass(frozen=True)
class Gap:
    """A drawn gap.

    Args:
        frames: its in-betweens, uint8 (H, W, 3 or 4).
        tracks: its tracks, (count + 2, P, 2), from key to key; None without.
        shares: fractions of the gap at which the frames were drawn; the nearest to the requested ones if the
            model draws only at fixed times.
        used: its method and settings: `OF_GAP` (`drawn_by` is model, parts, both (figures by
            their parts over a background by the model), hold or fade), and the model's
            steps, guidance, scheduler and seed in effect (None for settings that it does not have); `model`, if it
            is not the job's.
    """

    frames: list[np.ndarray]
    tracks: np.ndarray | None = None
    shares: Shares = ()
    used: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Drawn:
    """A finished sequence.

    Args:
        frames: uint8 (H, W, 3 or 4), including the keys.
        keys: per frame the number of its key drawing, None for an in-between.
        tracks: gap -> its tracks, (count + 2, P, 2), from key to key; only gaps with tracks.
        shares: per gap the fractions at which its in-betweens were drawn.
        used: as in `Gap`, for every gap; empty if nothing was drawn.
    """

    frames: list[np.ndarray]
    keys: list[int | None]
    tracks: Mapping[int, np.ndarray] = field(default_factory=dict)
    shares: tuple[Shares, ...] = ()
    used: tuple[Mapping[str, Any], ...] = ()

    @property
    def by_model(self) -> Mapping[str, Any]:
        """`used` of the first gap that the model drew, empty if it drew none."""
        return first_by_model(self.used)

    @property
    def confidence(self) -> list[float | None]:
        """The confidence of each frame, None for keys and frames without one."""
        found: list[float | None] = []
        gap, waiting = -1, iter(())
        for key in self.keys:
            if key is not None:
                gap += 1
                waiting = iter(self.used[gap].get("confidence") or () if gap < len(self.used) else ())
            found.append(next(waiting, None) if key is None else None)
        return found

    @property
    def cuts(self) -> list[int]:
        """The gaps, numbered from 0, whose keys seem to be of different scenes."""
        return [gap for gap, used in enumerate(self.used) if used.get("cut")]

    @property
    def notes(self) -> list[str]:
        """The notes of all gaps, each once."""
        return list(dict.fromkeys(note for used in self.used for note in used.get("notes", ())))


def first_by_model(used: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The first of `Gap.used` of a gap that the model drew, empty if it drew none."""
    return next((one for one in used if is_by_model(one)), {})


def is_by_model(used: Mapping[str, Any]) -> bool:
    """Whether the model drew a gap, or its background."""
    return used.get("drawn_by") in ("model", "both")


def gap_of(frames: list[np.ndarray], plan: GapPlan, tracks: GapTracks | None, used: Mapping[str, Any]) -> Gap:
    """The result of a gap from all frames of its plan; `tracks` are those of all places of the plan."""
    places = [0, *plan.kept, plan.drawn + 1]
    shares = tuple(plan.shares[place] for place in plan.kept)
    return Gap(frames, None if tracks is None else tracks.rows[places], shares, used)
