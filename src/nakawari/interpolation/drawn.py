"""What was drawn: a gap, and a whole sequence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .plan import GapPlan
from .spacing import Shares
from .tracks import GapTracks

OF_GAP = ("drawn_by", "cut", "confidence", "palette", "notes")
"""What is said of every gap: what drew it, whether its keys seem to be of different scenes, how sure each in-between
is (0 to 1), whether they are in the keys' colours, and sentences about settings that were not taken."""

Pair = tuple[np.ndarray, np.ndarray]
"""Two keys, or one layer of them, uint8 (H, W, C)."""


@dataclass(frozen=True)
class Gap:
    """A gap that is drawn.

    Args:
        frames: its in-betweens, uint8 (H, W, 3 or 4).
        tracks: where its points were led, (count + 2, P, 2), from key to key; None without.
        shares: where the frames were drawn on the way from key to key; the nearest places to those asked for where the
            model knows no others.
        used: what drew it and with what: `OF_GAP` (`drawn_by` is model, parts, both (figures by
            their parts over a ground by the model), hold or fade), and what the model really
            took for steps, guidance, scheduler and seed (None where it knows no such thing).
    """

    frames: list[np.ndarray]
    tracks: np.ndarray | None = None
    shares: Shares = ()
    used: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Drawn:
    """A finished sequence.

    Args:
        frames: uint8 (H, W, 3 or 4), keys in their places.
        keys: per frame the number of the key drawing that it is, None for an in-between.
        tracks: gap -> where its points were led, (count + 2, P, 2), from key to key; only gaps that had tracks.
        shares: per gap where its in-betweens were drawn on the way.
        used: as in `Gap`, of every gap; empty where nothing was asked for.
    """

    frames: list[np.ndarray]
    keys: list[int | None]
    tracks: Mapping[int, np.ndarray] = field(default_factory=dict)
    shares: tuple[Shares, ...] = ()
    used: tuple[Mapping[str, Any], ...] = ()

    @property
    def by_model(self) -> Mapping[str, Any]:
        """`used` of the first gap that the model drew, empty where it drew none."""
        return next((used for used in self.used if used.get("drawn_by") in ("model", "both")), {})

    @property
    def confidence(self) -> list[float | None]:
        """Per frame how sure it is, None for keys and where nothing is said."""
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
        """The gaps, counted from 0, between whose keys there seems to be a cut."""
        return [gap for gap, used in enumerate(self.used) if used.get("cut")]

    @property
    def notes(self) -> list[str]:
        """The notes of all gaps, each once."""
        return list(dict.fromkeys(note for used in self.used for note in used.get("notes", ())))


def gap_of(frames: list[np.ndarray], plan: GapPlan, tracks: GapTracks | None, used: Mapping[str, Any]) -> Gap:
    """What was drawn of a gap by its plan; `tracks` are those of all places of the plan."""
    places = [0, *plan.kept, plan.drawn + 1]
    shares = tuple(plan.shares[place] for place in plan.kept)
    return Gap(frames, None if tracks is None else tracks.rows[places], shares, used)
