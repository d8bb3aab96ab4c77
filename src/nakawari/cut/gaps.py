"""The gaps of a cut's levels, each as a separate job."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..interpolation import Key, Settings, read_keys
from ..interpolation.gaps import gap_key
from ..interpolation.spacing import even
from ..media import read_picture
from .placing import Drawing
from .plan import CutLevel


@dataclass(frozen=True)
class LevelGap:
    """A gap of a level: its drawings, its two keys, its settings, and the hash under which its result is cached."""

    drawings: Sequence[Drawing]
    pair: tuple[Key, Key]
    settings: Settings
    key: str


def level_gaps(level: CutLevel, settings: Settings, fingerprint: str) -> Iterator[LevelGap]:
    """The gaps of a level, each as a separate job."""
    gaps = level.gaps()
    keys = read_level(level) if gaps else {}
    for way, drawings in gaps:
        pair = (keys[way.start], keys[way.end])
        shares = tuple(drawing.way.share for drawing in drawings if drawing.way)
        uneven = None if np.allclose(shares, even(len(shares)), atol=1e-9) else (shares,)
        own = replace(settings, counts=(len(drawings),), loop=False, shares=uneven)
        key = gap_key((pair[0].pixels, pair[1].pixels), own.of_gap(0), fingerprint)
        yield LevelGap(drawings, pair, own, key)


def read_level(level: CutLevel) -> dict[str, Key]:
    """The existing drawings of a level, by their names in the sheet; all of one size and kind."""
    names = [drawing.name for drawing in level.exposures.drawings if not drawing.way]
    for name in names:
        read_picture(level.files[name])  # raises for a file of several images
    return dict(zip(names, read_keys([level.files[name] for name in names]), strict=True))
