"""What a model can do, said by the model: nobody else has to look into it to find out."""

from __future__ import annotations

import inspect
from collections.abc import Collection
from typing import Any, ClassVar, Literal

TrackUse = Literal["none", "matches", "control"]


class Abilities:
    """Part of the contract: what stands here holds for a family that says nothing else."""

    family: str
    tracks: ClassVar[TrackUse] = "none"
    """What points that are led by hand are to it: `matches` of the keys, which it finds by itself where none are given,
    or a `control`, which it goes without."""
    schedulers: ClassVar[tuple[str, ...]] = ()
    """What `scheduled` takes, where a call may be sampled in several ways."""
    guide: Any = None
    """What makes its motion guide; None where it has none."""

    @property
    def call_settings(self) -> Collection[str]:
        """The keyword arguments that a call takes."""
        return inspect.signature(type(self).__call__).parameters

    @property
    def reads_words(self) -> bool:
        """Whether a prompt changes what is drawn."""
        return False

    @property
    def is_guided(self) -> bool:
        """Whether a part of its condition can be taken away, which a guidance scale weighs."""
        return False

    @property
    def draws_any_time(self) -> bool:
        """Whether a call takes `times` (F,), rising from 0 to 1: where on the way each frame stands. Where not, frames
        are evenly spaced."""
        return False

    @property
    def frames_learnt(self) -> int | None:
        """How many frames, keys included, every clip of its training had; None where that varied."""
        return None

    def reads_noise(self, steps: int | None = None) -> bool:
        """Whether the starting noise, and so the seed, changes what a call of so many steps (None: its own) draws."""
        return True
