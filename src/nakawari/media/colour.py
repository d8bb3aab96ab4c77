"""Colour management: profiles are kept with a drawing; colours are converted to sRGB only for comparison.

A drawing keeps its RGB values and its ICC profile from file to file: `interpolate` draws between the
values unchanged and writes them with the same profile, without conversion loss. Training, scores, reports
and previews (GIF, MP4, contact sheets) combine images of different origin; they use `Picture.srgb()`.
An RGB file cannot hold grey and CMYK profiles: such images are converted to sRGB when they are read.
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
"""Tolerance (levels of 255) within which a profile counts as sRGB: rounding in its tables."""


def space_of(profile: bytes) -> str:
    """The colour space of an ICC profile ("RGB", "GRAY", "CMYK", "LAB"), "" for an invalid profile."""
    from PIL import ImageCms

    try:
        return ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile.xcolor_space.strip()
    except (OSError, ImageCms.PyCMSError):
        return ""


def to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert an image of a mode that `profile` fits (RGB, L, CMYK, LAB; no alpha) to sRGB, relative colorimetric."""
    from PIL import ImageCms

    return ImageCms.applyTransform(image, _transform(profile, image.mode))


def pixels_to_srgb(pixels: Pixels, profile: bytes | None) -> Pixels:
    """Convert RGB or RGBA pixels (H, W, 3 or 4) from `profile` to sRGB; alpha is unchanged."""
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
