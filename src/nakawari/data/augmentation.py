"""Changes that make more samples of the same clips. Each is off unless it is asked for: a mirrored signer signs with
the other hand, and a recoloured show is another show."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Changes:
    """What is done to one sample, all frames alike.

    Args:
        mirror: left and right change places.
        flip: above and below change places.
        reverse: the last frame comes first.
        channels: the new order of the colour channels; None = as they are.
        invert: light becomes dark.
    """

    mirror: bool = False
    flip: bool = False
    reverse: bool = False
    channels: tuple[int, ...] | None = None
    invert: bool = False


@dataclass(frozen=True)
class Augmentation:
    """The shares of samples, 0 to 1, on which each of `Changes` is made."""

    mirror: float = 0.0
    flip: float = 0.0
    reverse: float = 0.0
    channels: float = 0.0
    inversion: float = 0.0

    def draw(self, rng: np.random.Generator) -> Changes:
        """The changes of one sample."""
        return Changes(
            mirror=rng.random() < self.mirror,
            flip=rng.random() < self.flip,
            reverse=rng.random() < self.reverse,
            channels=tuple(rng.permutation(3).tolist()) if rng.random() < self.channels else None,
            invert=rng.random() < self.inversion,
        )

    def described(self) -> str:
        """In words, such as "mirror 50 %, reverse 20 %", or "none"."""
        shares = [(field.name, getattr(self, field.name)) for field in fields(self)]
        return ", ".join(f"{name} {share:.0%}" for name, share in shares if share) or "none"


NONE = Augmentation()
ALL = Augmentation(mirror=0.5, flip=0.2, reverse=0.5, channels=0.5, inversion=0.1)
"""What a model of all drawings is trained with."""


def changed(frames: NDArray[np.uint8], changes: Changes) -> NDArray[np.uint8]:
    """Frames (F, H, W, 3) with `changes`."""
    if changes.mirror:
        frames = frames[:, :, ::-1]
    if changes.flip:
        frames = frames[:, ::-1]
    if changes.reverse:
        frames = frames[::-1]
    if changes.channels is not None:
        frames = frames[..., changes.channels]
    return 255 - frames if changes.invert else frames
