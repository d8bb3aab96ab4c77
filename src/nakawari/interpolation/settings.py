"""What a job asks of the model and of the drawing around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from ..families.framer.tracks import Drag
from .cuts import OnCut
from .palette import Palette
from .spacing import Shares

Drags = Mapping[int, Sequence[Drag]]
"""Gap number, counted from 0, -> the drags of that gap, in pixels of the key drawings."""


@dataclass(frozen=True)
class Settings:
    """What a job asks of the model; None leaves a choice to the model.

    Args:
        counts: in-betweens per gap, the loop's gap last.
        loop: whether a last gap leads back to the first key.
        steps: sampling steps.
        guidance: classifier-free guidance scale.
        seed: every pass draws its noise from this, the gap's and the pass's number, and nothing else.
        fps: frames per second that the sequence is meant for, told to models that know speeds.
        prompt: words for models that read them.
        batch: how many passes run together on a GPU; on a CPU they run one by one.
        scheduler: the sampler, for families that have several.
        drags: tracks that points follow, for families that know them.
        auto_tracks: match points between the keys of every gap and let them follow straight tracks.
        options: further arguments of the pipeline's call, for families that know them.
        size: height and width that the model draws at; what it draws is brought back to the size of the keys.
        shares: per gap where its in-betweens stand on the way; None for even ones.
        parts: whether flat-colour drawings are drawn by their parts, not by the model, where these explain the keys.
        palette: `keep`: in-betweens have no colour that no key of theirs has; `free`: any; `auto`: keep where the keys
            have few colours and share them.
        on_cut: what stands between keys of different scenes: what the model draws, the nearer key, or a cross-fade.
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
        """All that decides how one gap is drawn, but for its keys and the model: equal words, equal frames."""
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
