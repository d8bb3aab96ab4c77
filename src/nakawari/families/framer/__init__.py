"""Framer: Stable Video Diffusion between two key frames, with points that go where they are told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .pipeline import FramerPipeline


def build(**parts: Any) -> FramerPipeline:
    """A new model, see `configs.build`, which is imported here: tracks and names are read without a framework."""
    from .configs import build

    return build(**parts)
