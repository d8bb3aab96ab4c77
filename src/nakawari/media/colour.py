"""Colour: profiles are kept with a drawing, and its colours become sRGB only where they must be comparable.

The one rule: a drawing keeps its RGB numbers and its ICC profile from file to file, so `interpolate` draws between the
numbers as they are and writes them under the same profile; nothing is lost to a conversion. Training, scores, reports
and previews (GIF, MP4, contact sheets) put pictures of different origin beside each other; they see `Picture.srgb()`.
Grey and CMYK profiles cannot stand in an RGB file: such pictures become sRGB when they are read.
"""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
SAME = 2
"""Levels (of 255) by which a profile may differ from sRGB and still count as sRGB: rounding in its tables."""


def space_of(profile: bytes) -> str:
    """The colour space of an ICC profile ("RGB", "GRAY", "CMYK", "LAB"), "" where it is not a valid profile."""
    from PIL import ImageCms

    try:
        return ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile.xcolor_space.strip()
    except (OSError, ImageCms.PyCMSError):
        return ""


def to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """A picture of any mode that `profile` fits (RGB, L, CMYK, LAB; no alpha) as sRGB, relative colorimetric."""
    from PIL import ImageCms

    return ImageCms.applyTransform(image, _transform(profile, image.mode))


def pixels_to_srgb(pixels: Pixels, profile: bytes | None) -> Pixels:
    """RGB or RGBA pixels (H, W, 3 or 4) in the colours of `profile` as sRGB; alpha stays as it is."""
    if profile is None or is_srgb(profile):
        return pixels
    colour = np.asarray(to_srgb(Image.fromarray(np.ascontiguousarray(pixels[..., :3])), profile))
    return np.concatenate([colour, pixels[..., 3:]], axis=2)


@lru_cache(maxsize=16)
def is_srgb(profile: bytes) -> bool:
    """Whether an RGB profile gives the colours of sRGB, within `SAME` levels."""
    levels = np.linspace(0, 255, 18).round().astype(np.uint8)
    lattice = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(18, -1, 3)
    seen = np.asarray(to_srgb(Image.fromarray(lattice), profile))
    return int(np.abs(seen.astype(int) - lattice).max()) <= SAME


@lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> Any:
    from PIL import ImageCms

    return ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
        mode,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
