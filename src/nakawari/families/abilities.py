"""Abilities that a pipeline declares, so that other code need not inspect it."""

from __future__ import annotations

import inspect
from collections.abc import Collection
from typing import Any, ClassVar, Literal

TrackUse = Literal["none", "matches", "control"]


class Abilities:
    """Part of the pipeline interface; the defaults of a family."""

    family: str
    tracks: ClassVar[TrackUse] = "none"
    """Meaning of tracks: `matches` between the keys, which the model otherwise finds itself, or an optional
    `control`."""
    schedulers: ClassVar[tuple[str, ...]] = ()
    """Names for `scheduled`, if the family has several samplers."""
    guide: Any = None
    """The motion guide, or None."""

    @property
    def call_settings(self) -> Collection[str]:
        """The keyword arguments of a call."""
        return inspect.signature(type(self).__call__).parameters

    @property
    def reads_words(self) -> bool:
        """Whether the model reads a prompt."""
        return False

    @property
    def is_guided(self) -> bool:
        """Whether the model has an unconditional branch, so that a guidance scale has an effect."""
        return False

    @property
    def draws_any_time(self) -> bool:
        """Whether a call takes `times` (F,), increasing from 0 to 1: the time of each frame. Otherwise frames
        are evenly spaced."""
        return False

    @property
    def frames_learnt(self) -> int | None:
        """Number of frames, keys included, of every training clip; None if it varied."""
        return None

    def reads_noise(self, steps: int | None = None) -> bool:
        """Whether the starting noise, and so the seed, changes the result of a call with `steps` steps (None: the
        default)."""
        return True
