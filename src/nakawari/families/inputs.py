"""Read a pipeline's key frames: pictures, arrays or tensors, one or a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from diffusers.image_processor import VaeImageProcessor
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..errors import UsageError
from ..media import to_uint8
from ..seeds import seed_from

KeyFrames = Image.Image | Sequence[Image.Image] | NDArray[np.uint8] | Tensor


def read_keys(images: KeyFrames) -> Tensor:
    """Key frames as (B, 3, H, W), float32 in [-1, 1], at their size.

    Args:
        images: a picture or several of one size, uint8 RGB (H, W, 3) or (B, H, W, 3), or a tensor in [-1, 1],
            (3, H, W) or (B, 3, H, W).

    Raises:
        UsageError: anything else.
    """
    if isinstance(images, Image.Image):
        images = [images]
    if isinstance(images, Tensor):
        keys = images if images.ndim == 4 else images[None]
        if keys.ndim != 4 or keys.shape[1] != 3 or not keys.is_floating_point():
            raise UsageError(
                f"A key frame tensor is (B, 3, H, W) in [-1, 1], not {images.dtype} {tuple(images.shape)}."
            )
        return keys.float()
    if not isinstance(images, np.ndarray):
        arrays = [np.asarray(image.convert("RGB")) for image in images]
        if len({array.shape for array in arrays}) != 1:
            raise UsageError("The key frames of a batch have different sizes; resize them first.")
        images = np.stack(arrays)
    pixels = images if images.ndim == 4 else images[None]
    if pixels.ndim != 4 or pixels.shape[3] != 3 or pixels.dtype != np.uint8:
        raise UsageError(f"A key frame array is uint8 RGB (H, W, 3), not {images.dtype} {images.shape}.")
    return torch.from_numpy(pixels.astype(np.float32) / 255.0).permute(0, 3, 1, 2) * 2.0 - 1.0


def _resized(images: KeyFrames, keys: Tensor, size: tuple[int, int] | None) -> Tensor:
    """`keys`, read from `images`, resized to `size` (height, width); pictures and arrays by Lanczos."""
    if size is None or tuple(keys.shape[-2:]) == size:
        return keys
    if isinstance(images, Tensor):
        raise UsageError(
            f"A key frame tensor of {keys.shape[-1]}x{keys.shape[-2]} is not resized to {size[1]}x{size[0]}; "
            "resize it first."
        )
    pictures = [Image.fromarray(array) for array in to_uint8(keys)]
    return VaeImageProcessor(vae_scale_factor=1).preprocess(pictures, *size)


def read_pair(
    start: KeyFrames, end: KeyFrames, height: int | None, width: int | None
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Start and end keys, at their own size and at `height` and `width` (None = own size).

    Raises:
        UsageError: keys that are not pairs, or of different resulting sizes.
    """
    if (height is None) != (width is None):
        raise UsageError("Only one of height and width is given; give both or none.")
    size = None if height is None or width is None else (height, width)
    given = read_keys(start), read_keys(end)
    if len(given[0]) != len(given[1]):
        raise UsageError(f"There are {len(given[0])} start keys and {len(given[1])} end keys; give pairs.")
    keys = _resized(start, given[0], size), _resized(end, given[1], size)
    if keys[0].shape != keys[1].shape:
        here, there = (f"{images.shape[-1]}x{images.shape[-2]}" for images in keys)
        raise UsageError(f"The keys have different sizes, {here} and {there}; resize them, or give height and width.")
    return given, keys


def check_call(frames: int, steps: int, control_range: tuple[float, float], output_type: str) -> None:
    """Check the arguments of a call.

    Raises:
        UsageError: names the allowed values.
    """
    if frames < 2:
        raise UsageError(f"A clip needs its two keys, so num_frames must be at least 2, not {frames}.")
    if steps < 1:
        raise UsageError(f"The number of steps must be at least 1, not {steps}.")
    if not 0 <= control_range[0] <= control_range[1] <= 1:
        raise UsageError(f"control_range={control_range} is not a range of the steps; give 0 <= from <= to <= 1.")
    if output_type not in ("pil", "np", "pt", "latent"):
        raise UsageError(f"output_type={output_type!r} is not valid; give 'pil', 'np', 'pt' or 'latent'.")


def picture_generators(start: Tensor, end: Tensor) -> list[torch.Generator]:
    """One generator per clip, seeded from the contents of its keys (B, 3, H, W)."""
    pairs = zip(start.float().cpu(), end.float().cpu(), strict=True)
    contents = (b"".join(key.contiguous().numpy().tobytes() for key in pair) for pair in pairs)
    return [torch.Generator().manual_seed(seed_from(content)) for content in contents]


def check_generators(generator: Any, clips: int) -> None:
    """Raise `UsageError` if there are several generators but not one per clip."""
    if isinstance(generator, Sequence) and len(generator) != clips:
        raise UsageError(f"There are {len(generator)} generators and {clips} clips; give one, or one per clip.")
