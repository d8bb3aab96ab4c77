"""Faults of a single clip: framing, timing, encoding and motion."""

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
"""A clip counts as held when at least this share of its frames repeats the previous drawing; on twos it is a half."""
_UNEVEN = 1.5
"""Minimum ratio of the longest frame duration to the usual one for a variable rate, allowing for rounding."""
_LOST = 2
"""Tolerated missing frames of a container: encoders sometimes count one too many."""


@dataclass
class Look:
    """One readable item: size (width, height) of each frame, changes, signatures of its drawings, framing,
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
    """Kind and sentence (after the path) of the faults of a video's file and of the framing."""
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
                    f"has frame durations from {1000 * steps.min():.0f} to {1000 * steps.max():.0f} ms; export it at "
                    "a constant frame rate.",
                )
            )
        if track.pixel_aspect != 1:
            aspect = f"{track.pixel_aspect.numerator}:{track.pixel_aspect.denominator}"
            found.append(
                ("pixel-aspect", f"has pixels of {aspect}, so figures are stretched; scale it to square ones.")
            )
    if look.framing.woven or (track is not None and track.interlaced):
        found.append(("interlaced", "has two fields in one frame, line by line; deinterlace it."))
    if any(look.framing.bars):
        top, bottom, left, right = look.framing.bars
        found.append(
            ("letterbox", f"has black bars ({top} above, {bottom} below, {left} left, {right} right); crop them.")
        )
    return found


def motion_faults(item: Item, changes: Changes) -> list[tuple[str, str]]:
    """Kind and sentence (after the path) of the faults of an item's motion."""
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
            ("held", f"repeats the previous drawing in {repeated} of {len(changes)} frames; keep each drawing once.")
        )
    return found
