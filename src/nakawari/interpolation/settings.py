"""The settings of a job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from ..families.framer.tracks import Drag
from .cuts import OnCut
from .palette import Palette
from .spacing import Shares

Drags = Mapping[int, Sequence[Drag]]
"""Gap number, from 0 -> the drags of that gap, in pixels of the key drawings."""


@dataclass(frozen=True)
class Settings:
    """The settings of a job; None leaves a choice to the model.

    Args:
        counts: in-betweens per gap, the loop's gap last.
        loop: whether a last gap leads back to the first key.
        steps: sampling steps.
        guidance: classifier-free guidance scale.
        seed: the noise of every pass depends only on this and on the gap's and the pass's number.
        fps: frame rate of the sequence, passed to models with a frame-rate condition.
        prompt: text prompt, for models that read text.
        batch: number of passes drawn together on a GPU; on a CPU they run one by one.
        scheduler: the sampler, for families that have several.
        drags: tracks of points, for families that support them.
        auto_tracks: match points between the keys of every gap and move them along straight tracks.
        options: further arguments of the pipeline's call, for families that support them.
        size: height and width that the model draws at; its frames are resized to the size of the keys.
        shares: per gap the fractions of its in-betweens; None for even ones.
        parts: whether flat-colour drawings are drawn by their parts instead of the model, if these explain the keys.
        palette: `keep`: in-betweens only have colours of their keys; `free`: any; `auto`: keep if the keys
            have few colours and share them.
        on_cut: frames between keys of different scenes: in-betweens, the nearer key, or a cross-fade.
    """

    counts: tuple[int, ...]
    loop: bool = False
    steps: int | None = None
    guidance: float | None = None
    seed: int = 0
    fps: float | None = None
    prompt: str = ""
    batch: int = 1
    scheduler: str | None = None
    drags: Drags = field(default_factory=dict)
    auto_tracks: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    shares: tuple[Shares, ...] | None = None
    parts: bool = True
    size: tuple[int, int] | None = None
    palette: Palette = "auto"
    on_cut: OnCut = "draw"

    def of_gap(self, gap: int) -> dict[str, Any]:
        """All settings that determine one gap's frames, without its keys and the model."""
        words = {name: getattr(self, name) for name in _OF_ALL_GAPS}
        return words | {
            "gap": gap,
            "between": self.counts[gap],
            "shares": self.shares[gap] if self.shares else None,
            "drags": self.drags.get(gap),
        }


_OF_ALL_GAPS = tuple(
    one.name for one in fields(Settings) if one.name not in ("counts", "loop", "batch", "drags", "shares")
)
