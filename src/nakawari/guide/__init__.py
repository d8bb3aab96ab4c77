"""Guides: estimates of every in-between from the two key frames, computed without a network.

`layout` defines the contents of a guide; `motion` makes one from optical flow (`flow`, `search`, `warp`). A further
kind of guide is a module beside these that returns the same `Guide`.
"""

from .layout import CHANNELS, Guide, GuideMaker, still

__all__ = ["CHANNELS", "Guide", "GuideMaker", "still"]
