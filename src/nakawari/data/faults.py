"""What is wrong with one clip, whatever lies beside it: how it is framed, timed and encoded, and how it moves."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from ..media import read_track
from .clips import Frames
from .drawings import Changes, watch
from .framing import Framing
from .inventory import Item
from .likeness import Seen, seen_of

HELD_SHARE = 1 / 3
"""A clip counts as held when at least this share of its frames repeats the drawing before: on twos it is a half."""
_UNEVEN = 1.5
"""The longest time of a frame over the usual one from which on the rate counts as variable: clocks round."""
_LOST = 2
"""Frames that a container may promise and not hold: encoders count one too many now and then."""


@dataclass
class Look:
    """One readable item: size (width, height) of each frame, changes, what is seen of each drawing, how it is framed,
    and a hash of its pictures."""

    sizes: list[tuple[int, int]] = field(default_factory=list)
    changes: Changes = field(default_factory=lambda: watch(()))
    seen: list[Seen] = field(default_factory=list)
    framing: Framing = field(default_factory=Framing)
    content: str = ""


def look_at(item: Item, rate: float) -> Look:
    """Decode an item once, frame by frame.

    Raises:
        NakawariError: a file cannot be read.
    """
    look, digest = Look(), hashlib.sha256()
    seen: list[Seen] = []

    def frames() -> Iterator[Frames]:
        for frame in item.frames():
            look.sizes.append((frame.shape[1], frame.shape[0]))
            small = seen_of(frame)
            digest.update(small.round().astype(np.int16).tobytes() + bytes([round(float(frame.mean()))]))
            if look.sizes[-1] == look.sizes[0]:
                seen.append(small)
                look.framing.add(frame)
                yield frame

    look.changes = watch(frames(), rate)
    look.seen = [small for small, held in zip(seen, look.changes.held, strict=True) if not held]
    look.content = digest.hexdigest()
    return look


def stream_faults(item: Item, look: Look) -> list[tuple[str, str]]:
    """Kind and sentence (after the path) of what is wrong with a video's file and with the framing of any item."""
    found: list[tuple[str, str]] = []
    track = read_track(item.path) if item.kind == "video" else None
    if track is not None:
        count = len(look.sizes)
        if track.frames - count > max(_LOST, 0.02 * track.frames):
            found.append(("cut-off", f"ends after {count} of {track.frames} frames; export it again."))
        steps = np.diff(track.times)
        if len(steps) > 1 and steps.max() > _UNEVEN * np.median(steps) > 0:
            found.append(
                (
                    "variable-rate",
                    f"has frames that last from {1000 * steps.min():.0f} to {1000 * steps.max():.0f} ms; export it at "
                    "one rate, or every gap between its frames is another.",
                )
            )
        if track.pixel_aspect != 1:
            aspect = f"{track.pixel_aspect.numerator}:{track.pixel_aspect.denominator}"
            found.append(
                ("pixel-aspect", f"has pixels of {aspect}, so figures are stretched; scale it to square ones.")
            )
    if look.framing.woven or (track is not None and track.interlaced):
        found.append(("interlaced", "shows two moments in one frame, line by line; deinterlace it."))
    if any(look.framing.bars):
        top, bottom, left, right = look.framing.bars
        found.append(
            ("letterbox", f"has black bars ({top} above, {bottom} below, {left} left, {right} right); crop them.")
        )
    return found


def motion_faults(item: Item, changes: Changes) -> list[tuple[str, str]]:
    """Kind and sentence (after the path) of what is wrong with how an item moves."""
    if changes.still:
        return [("static", "shows one drawing throughout; remove it.")]
    if item.kind == "pair":
        return []
    found: list[tuple[str, str]] = []
    if changes.cuts:
        places = ", ".join(str(cut) for cut in changes.cuts[:5]) + (" and more" if len(changes.cuts) > 5 else "")
        found.append(("scene-cut", f"holds a scene cut at frame {places}; split it with nakawari data prepare."))
    if changes.flashing.any():
        first = int(changes.flashing.argmax())
        found.append(("flashing", f"flashes at frame {first}; nakawari data prepare drops such stretches."))
    repeated = int(changes.held.sum())
    if repeated >= HELD_SHARE * len(changes):
        found.append(
            ("held", f"repeats the drawing before in {repeated} of {len(changes)} frames; keep each drawing once.")
        )
    return found
