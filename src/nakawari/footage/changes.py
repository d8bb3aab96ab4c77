"""Find the distinct drawings of footage, with the times of their frames."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction

from ..data import holds
from .source import Pixels, Timed


@dataclass
class Standing:
    """A drawing and its exposure.

    Args:
        pixels: its first frame, (H, W, 3).
        times: start of each of its frames, in seconds.
        cut: whether it starts a new scene.
    """

    pixels: Pixels
    times: list[Fraction] = field(default_factory=list)
    cut: bool = False


def drawings_of(frames: Iterable[Timed]) -> Iterator[Standing]:
    """The distinct drawings of footage in order; each is yielded once the next one is known."""
    times: deque[Fraction] = deque()

    def pixels() -> Iterator[Pixels]:
        for frame in frames:
            times.append(frame.time)
            yield frame.pixels

    for drawing in holds.drawings_of(pixels()):
        yield Standing(drawing.pixels, [times.popleft() for _ in range(drawing.count)], drawing.cut)
