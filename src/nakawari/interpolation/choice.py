"""Who draws a gap: its parts, the model, both in two layers, or neither at a cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .by_parts import drawn_by_parts
from .cuts import across
from .drawn import Pair
from .figures import Layers, Plane, in_layers
from .one_ground import before_one_ground
from .rivals import CERTAIN
from .settings import Settings


@dataclass(frozen=True)
class Choice:
    """The method of a gap.

    Args:
        drawn_by: as in `Gap.used`.
        frames: its in-betweens, (H, W, 3 or 4) each; None if the model must draw something.
        for_model: the keys that the model must draw: those of the gap, or their backgrounds; None if nothing.
        layers: the figures over the model's in-betweens of the backgrounds; None without.
        notes: about settings that have no effect.
        rivalled: the confidence from which the model's drawing of the whole gap may replace this one (`rivals`);
            None for never.
    """

    drawn_by: str
    frames: list[Plane] | None = None
    for_model: Pair | None = None
    layers: Layers | None = None
    notes: list[str] = field(default_factory=list)
    rivalled: float | None = None


def choose(gap: int, pair: Pair, shares: Sequence[float], settings: Settings, *, cut: bool) -> Choice:
    """The method of a gap between two keys, with what needs no model drawn at shares in (0, 1).

    Parts are preferred if they explain the keys (`drawn_by_parts`), over one opaque background, too; then figures by
    their parts over a background by the model. A gap with tracks is drawn by the model, and so is the background
    at a `cut`.
    """
    if cut and settings.on_cut != "draw":
        return Choice(settings.on_cut, across(pair, shares, settings.on_cut))
    if not settings.parts or settings.auto_tracks or settings.drags.get(gap):
        return Choice("model", for_model=pair)
    drawn = drawn_by_parts(pair, shares)
    frames = drawn.frames if drawn else before_one_ground(pair, shares)
    if frames:
        # Where optical flow fails, a model erases things, which its confidence does not tell.
        flow_helps = drawn is not None and drawn.flow_helps
        return Choice("parts", frames, notes=_ignored(settings), rivalled=0.0 if flow_helps else None)
    layers = None if cut else in_layers(pair, shares)
    if layers is None:
        return Choice("model", for_model=pair)
    return Choice("both", for_model=layers.grounds, layers=layers, rivalled=CERTAIN)


def _ignored(settings: Settings) -> list[str]:
    asked = {"--seed": settings.seed, "--steps": settings.steps, "--guidance": settings.guidance}
    words = " and ".join(name for name, value in asked.items() if value)
    return [f"Drawings by parts have no {words}; with --no-parts the model draws them."] if words else []
