"""Between uint8 frames and the tensors that models work on."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def to_tensor(frames: np.ndarray) -> Tensor:
    """uint8 RGB frames (..., H, W, 3) -> float32 (..., 3, H, W) in [-1, 1]."""
    values = torch.from_numpy(np.ascontiguousarray(frames)).float()
    return (values / 127.5 - 1).movedim(-1, -3).contiguous()


def to_uint8(frames: Tensor) -> np.ndarray:
    """Frames (..., 3, H, W) in [-1, 1], any float dtype -> uint8 (..., H, W, 3), clamped and rounded."""
    values = ((frames.detach().float() + 1) * 127.5).clamp(0, 255).round()
    return values.movedim(-3, -1).to("cpu", torch.uint8).contiguous().numpy()
