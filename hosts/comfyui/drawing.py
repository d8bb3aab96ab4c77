"""Conversion between ComfyUI's batches and key drawings.

IMAGE is `[B, H, W, C]` in 0..1; MASK is `[B, H, W]`, 1 where an image is transparent, as in ComfyUI's nodes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nakawari.errors import UsageError
from nakawari.interpolation import (
    Key,
    Settings,
    draw,
    gap_counts,
    parse_counts,
    parse_spacing,
    parse_tracks,
)
from nakawari.interpolation.spacing import even, spaced_gaps

NO_PLACE = Path("keys")


def keys_of(images: torch.Tensor, masks: torch.Tensor | None) -> list[Key]:
    """A batch as key drawings, 8 bits.

    Raises:
        UsageError: fewer than two images, or masks of another shape.
    """
    if len(images) < 2:
        raise UsageError(f"In-betweens need two or more keys in one batch, not {len(images)}; batch them.")
    pixels = _bytes(images[..., :3])
    if masks is not None:
        if masks.shape != images.shape[:3]:
            raise UsageError(
                f"The masks are {tuple(masks.shape)} and the keys {tuple(images.shape[:3])}; give one mask per key."
            )
        pixels = np.concatenate([pixels, 255 - _bytes(masks)[..., None]], axis=-1)
    return [Key(NO_PLACE, one) for one in pixels]


def _bytes(values: torch.Tensor) -> np.ndarray:
    return (values.float().cpu().clamp(0, 1) * 255).round().to(torch.uint8).numpy()


def between(
    pipeline: Callable[[], Any],
    keys: list[Key],
    counts: str,
    spacing: str,
    seed: int,
    tracks: str = "",
    parts: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Keys with their in-betweens, as IMAGE and MASK.

    Args:
        pipeline: returns the pipeline.
        counts, spacing, tracks: as the options `--between`, `--spacing`, and `--track`, one per line.

    Raises:
        NakawariError: as `nakawari.interpolation.draw`.
    """
    own = gap_counts(parse_counts(counts), len(keys), loop=False)
    words = [line.strip() for line in tracks.splitlines() if line.strip()]
    spacings = [parse_spacing(line) for line in spacing.splitlines() if line.strip()] or ["even"]
    shares = None if spacings == ["even"] else spaced_gaps(spacings, [even(count) for count in own])
    settings = Settings(own, seed=seed, shares=shares, drags=parse_tracks(words, len(own)), parts=parts)
    frames = np.stack(draw(keys, settings, pipeline(), progress).frames)
    images = torch.from_numpy(frames[..., :3].astype(np.float32) / 255)
    matte = frames[..., 3] if frames.shape[-1] == 4 else np.full(frames.shape[:3], 255, np.uint8)
    return images, torch.from_numpy((255 - matte).astype(np.float32) / 255)
