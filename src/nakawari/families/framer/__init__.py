"""Framer: Stable Video Diffusion between two key frames, with points that go where they are told."""

from .configs import build

__all__ = ["build"]
