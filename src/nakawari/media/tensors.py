"""Conversion between uint8 frames and model tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import NakawariError

if TYPE_CHECKING:
    from torch import Tensor


def to_tensor(frames: NDArray[np.uint8]) -> Tensor:
    """uint8 RGB frames (..., H, W, 3) -> float32 (..., 3, H, W) in [-1, 1]."""
    import torch  # imported late: reading files does not need torch, which takes seconds to import

    values = torch.from_numpy(np.ascontiguousarray(frames)).float()
    return (values / 127.5 - 1).movedim(-1, -3).contiguous()


def to_uint8(frames: Tensor, low: float = -1.0) -> NDArray[np.uint8]:
    """Frames (..., 3, H, W) in [low, 1], any float dtype -> uint8 (..., H, W, 3), clamped, rounded to nearest.

    `low`: -1 for model tensors, 0 for pipeline results with `output_type` "pt". Raises `NakawariError` for values that
    are not finite.
    """
    import torch

    values = frames.detach().float()
    finite = values.isfinite()
    if not finite.all():
        bad = int((~finite).sum())
        raise NakawariError(
            f"{bad} of {values.numel()} values of the output are not finite; check the model, or try another precision."
        )
    levels = (values.clamp(0, 1) * 255) if low == 0 else ((values + 1) * 127.5).clamp(0, 255)
    return levels.round().movedim(-3, -1).to("cpu", torch.uint8).contiguous().numpy()
