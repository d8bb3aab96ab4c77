"""Read key drawings, check that they have one size, and split them into colour and matte."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import NakawariError, UsageError
from ..media import Picture, is_srgb, is_video, list_images, read_pictures
from .pairs import start_before_end

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Key:
    """A key drawing: its path, its pixels, uint8 (H, W, 3 or 4), and its file's contents, None for a
    drawing without a file. The pixels are in the colours of the file's own profile."""

    path: Path
    pixels: np.ndarray
    picture: Picture | None = None


def read_keys(sources: Sequence[Path]) -> list[Key]:
    """Key drawings from image files and folders of images, in the order given; every picture of a GIF and every page
    of a TIFF is a key. In a folder of pairs (`NAME_start`, `NAME_end`) every start comes before its end.

    If any of them is transparent, all are returned as RGBA, the others opaque. Raises `NakawariError` for a
    file that cannot be read, a drawing in a folder whose format cannot be read, and drawings of different size or
    colour profile, `UsageError` for a video and for a folder in which some drawings are pairs and others not.
    """
    paths: list[Path] = []
    for source in sources:
        if is_video(source):
            raise UsageError(f"{source} is a video; give key drawings as images, or a folder of them.")
        paths += start_before_end(list_images(source)) if source.is_dir() else [source]
    found = [(path, picture) for path in paths for picture in read_pictures(path)]
    if any(picture.pixels.shape[2] == 4 for _, picture in found):
        found = [(path, picture.with_matte()) for path, picture in found]
    keys = [Key(path, picture.pixels, picture) for path, picture in found]
    _check_sizes(keys)
    _check_profiles(keys)
    return keys


def _check_sizes(keys: Sequence[Key]) -> None:
    for key in keys[1:]:
        if key.pixels.shape[:2] != keys[0].pixels.shape[:2]:
            (height, width), (first_height, first_width) = key.pixels.shape[:2], keys[0].pixels.shape[:2]
            raise NakawariError(
                f"{key.path} is {width}x{height} but {keys[0].path} is {first_width}x{first_height}; "
                "all key drawings must have one size, so export them again at the same size."
            )


def _check_profiles(keys: Sequence[Key]) -> None:
    """Check that all keys have one profile, since in-betweens are drawn on the keys' pixel values."""
    first = keys[0]
    for key in keys[1:]:
        if not _same_colours(_profile(first), _profile(key)):
            raise NakawariError(
                f"{key.path} and {first.path} have different colour profiles; convert all key drawings to one profile."
            )


def _profile(key: Key) -> bytes | None:
    return key.picture.profile if key.picture else None


def _same_colours(first: bytes | None, other: bytes | None) -> bool:
    return first == other or all(profile is None or is_srgb(profile) for profile in (first, other))


def transparent(pair: tuple[np.ndarray, np.ndarray]) -> bool:
    """Whether any pixel of two keys, (H, W, 3 or 4), is transparent."""
    return any(side.shape[2] == 4 and side[..., 3].min() < 255 for side in pair)


def matte(pixels: np.ndarray) -> np.ndarray:
    """The alpha of an RGBA frame as a grey picture (H, W, 3)."""
    return np.repeat(pixels[..., 3:], 3, axis=2)


def bled_colour(pixels: np.ndarray) -> np.ndarray:
    """The colour (H, W, 3) of an RGBA frame, with invisible pixels filled from the visible ones around them.

    Colour under alpha 0 is arbitrary (mostly black or white) and would cause a fringe in the in-betweens.
    Filling is push-pull: a pyramid of alpha-weighted averages, whose coarse levels fill the holes of the
    fine ones. Visible pixels are unchanged; a fully invisible frame becomes mid-grey.
    """
    import torch  # late: not needed for reading and checking keys

    values = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float()
    weight = values[:, 3:] / 255
    filled = _push_pull(values[:, :3] * weight, weight)[0].permute(1, 2, 0)
    colour = filled.round().clamp(0, 255).to(torch.uint8).numpy()
    return np.where(pixels[..., 3:] > 0, pixels[..., :3], colour)


def _push_pull(colour: Tensor, weight: Tensor) -> Tensor:
    """Colour (1, 3, H, W), multiplied by weight (1, 1, H, W) in [0, 1], with positions of low weight filled."""
    import torch
    from torch.nn import functional

    size = weight.shape[-2:]
    if tuple(size) == (1, 1):
        return torch.where(weight > 0, colour / weight.clamp(min=1e-6), 128.0)
    coarse_colour = functional.avg_pool2d(colour, 2, ceil_mode=True)
    coarse_weight = functional.avg_pool2d(weight, 2, ceil_mode=True)
    # One visible pixel of the four suffices for the block; otherwise the fill would be a global average.
    gain = (1 / coarse_weight.clamp(min=1e-6)).clamp(max=4)
    behind = _push_pull(coarse_colour * gain, coarse_weight * gain)
    return colour + (1 - weight) * functional.interpolate(behind, size=size, mode="bilinear", align_corners=False)
