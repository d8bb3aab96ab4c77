"""The colours of a finished sequence, in its files and in previews."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..media import Picture, pixels_to_srgb

if TYPE_CHECKING:
    from .drawn import Drawn
    from .keys import Key


def as_written(drawn: Drawn, keys: Sequence[Key]) -> list[Picture]:
    """Every frame as written to its file: keys as read, in-betweens with the keys' profile and resolution.

    If all keys have 16 bits per channel, in-betweens are also written with 16; the model draws 256 levels.
    """
    pictures = [key.picture or Picture(key.pixels) for key in keys]
    first, deep = pictures[0], all(picture.deep is not None for picture in pictures)

    def between(pixels: np.ndarray) -> Picture:
        return Picture(pixels, first.profile, first.dpi, pixels.astype(np.uint16) * 257 if deep else None)

    pairs = zip(drawn.frames, drawn.keys, strict=True)
    return [between(frame) if number is None else pictures[number] for frame, number in pairs]


def as_shown(drawn: Drawn, keys: Sequence[Key]) -> Drawn:
    """The sequence in sRGB, for GIF, MP4 and contact sheets, which have no profile."""
    profile = keys[0].picture.profile if keys[0].picture else None
    if profile is None:
        return drawn
    return replace(drawn, frames=[pixels_to_srgb(frame, profile) for frame in drawn.frames])
