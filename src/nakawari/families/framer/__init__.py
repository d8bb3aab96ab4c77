"""Framer: Stable Video Diffusion between two key frames, with point control."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .pipeline import FramerPipeline


def build(**parts: Any) -> FramerPipeline:
    """A new model, see `configs.build`, imported here so that tracks and names can be read without torch."""
    from .configs import build

    return build(**parts)
