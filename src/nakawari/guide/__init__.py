"""Guides: what the two key frames alone say about every frame between them, computed without a network.

`layout` says what a guide holds; `motion` makes one from optical flow (`flow`, `search`, `warp`). A further kind of
guide is a module beside these that returns the same `Guide`.
"""

from .layout import CHANNELS, Guide, GuideMaker, still

__all__ = ["CHANNELS", "Guide", "GuideMaker", "still"]
