"""Data augmentation. Each kind is off by default: a mirrored signer signs with
the other hand, and a recoloured show is another show."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Changes:
    """The augmentation of one sample, equal for all frames.

    Args:
        mirror: flip horizontally.
        flip: flip vertically.
        reverse: reverse the order of frames.
        channels: permutation of the colour channels; None = unchanged.
        invert: invert the brightness.
    """

    mirror: bool = False
    flip: bool = False
    reverse: bool = False
    channels: tuple[int, ...] | None = None
    invert: bool = False


@dataclass(frozen=True)
class Augmentation:
    """The shares of samples, 0 to 1, with each kind of augmentation."""

    mirror: float = 0.0
    flip: float = 0.0
    reverse: float = 0.0
    channels: float = 0.0
    inversion: float = 0.0

    def draw(self, rng: np.random.Generator) -> Changes:
        """The random augmentation of one sample."""
        return Changes(
            mirror=rng.random() < self.mirror,
            flip=rng.random() < self.flip,
            reverse=rng.random() < self.reverse,
            channels=tuple(rng.permutation(3).tolist()) if rng.random() < self.channels else None,
            invert=rng.random() < self.inversion,
        )

    def described(self) -> str:
        """As text, such as "mirror 50 %, reverse 20 %", or "none"."""
        shares = [(field.name, getattr(self, field.name)) for field in fields(self)]
        return ", ".join(f"{name} {share:.0%}" for name, share in shares if share) or "none"


NONE = Augmentation()
ALL = Augmentation(mirror=0.5, flip=0.2, reverse=0.5, channels=0.5, inversion=0.1)
"""The augmentation for training a general model."""


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
